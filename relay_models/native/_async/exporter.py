"""Warm start: a store's runs and artefacts written back as the native keys that NeMo Relay loads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from relay_models.backend._async.backend import RedisBackend
from relay_models.documents import Keys
from relay_models.errors import (
    ConnectionFailedError,
    CorruptDocumentError,
    CorruptDocumentsError,
    InvalidRecordError,
)
from relay_models.native._async.source import native_link
from relay_models.native.layout import ARTIFACT_KINDS, DEFAULT_PREFIX, NativeKeys, glob_escape
from relay_models.native.reports import ExportReport
from relay_models.records import to_json
from relay_models.transport._async.link import Command, Link
from relay_models.transport._io_async import sleep
from relay_models.transport.error_mapping import translate

__all__ = ["export_native"]

_RUNS_PER_BATCH = 100
_FIRST_PAUSE = 0.1


async def export_native(
    backend: RedisBackend,
    target: str | Any,
    *,
    native_prefix: str = DEFAULT_PREFIX,
    agents: Collection[str] | None = None,
    runs: bool = True,
    timeout: float | None = 30.0,
    connect_timeout: float | None = 5.0,
    retries: int = 5,
    **redis_options: Any,
) -> ExportReport:
    """Write a store's state as native keys, so that a NeMo Relay process starts with what another one learned.

    Artefacts replace those of the target. Runs that the target's lists do not name are appended in the store's order,
    the others get the store's content in their place; doing it again changes nothing.

    Args:
        backend: the store.
        target: URL of the Redis that NeMo Relay will use (any database), or a redis-py client.
        native_prefix: the key prefix that NeMo Relay will be configured with.
        agents: only these agents, with the profiles derived from them (``agent::model=…``); all when None.
        runs: whether to write the runs, or only what was learned from them.
        timeout: seconds to wait for an answer, None for no limit.
        connect_timeout: seconds to wait for a connection.
        retries: attempts to go on after a lost connection.
        redis_options: further options of redis-py for the target.

    Raises:
        StorageError: the store or the target failed and did not come back.
        CorruptDocumentsError: stored documents cannot be read, or hold what cannot be written; they are named, and
            everything else is written.
    """
    keys = NativeKeys(native_prefix)
    options = {"socket_timeout": timeout, "socket_connect_timeout": connect_timeout, **redis_options}
    # RPUSH must not be sent twice, so the link does not retry; a lost connection is dealt with here.
    link, _ = native_link(target, 0, options)
    report = ExportReport()
    corrupt: list[CorruptDocumentError] = []
    try:
        for kind in ARTIFACT_KINDS:
            for agent_id in await _artifact_agents(backend, kind):
                if _wanted(agent_id, agents):
                    try:
                        await _export_artifact(backend, link, keys, kind, agent_id, retries, report)
                    except CorruptDocumentError as error:
                        corrupt.append(error)
        if runs:
            for summary in await backend.agents():
                if _wanted(summary.agent_id, agents):
                    await _export_runs(backend, link, keys, summary.agent_id, retries, report, corrupt)
    finally:
        if isinstance(target, str):
            await link.close()
    if corrupt:
        raise CorruptDocumentsError(corrupt, None)
    return report


async def _artifact_agents(backend: RedisBackend, kind: str) -> list[str]:
    """Whose artefacts of a kind the store has, sorted."""
    keys = Keys(backend.key_prefix)
    found: set[str] = set()
    cursor: bytes | int = 0
    while True:
        pattern = glob_escape(keys.root(kind)) + b"*"
        cursor, names = await backend._link.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 5000)
        found.update(keys.split(kind, name) for name in names)
        if int(cursor) == 0:
            return sorted(found)


async def _export_artifact(
    backend: RedisBackend, link: Link, keys: NativeKeys, kind: str, agent_id: str, retries: int, report: ExportReport
) -> None:
    record = await getattr(backend, f"load_{kind}")(agent_id)
    if record is None:
        return
    command = ("SET", keys.artifact(kind, agent_id), to_json(record))
    for attempt in range(retries + 1):
        try:
            await link.execute(*command)
            break
        except ConnectionFailedError:
            await _pause_or_raise(attempt, retries)
    report.artifacts[kind] = report.artifacts.get(kind, 0) + 1


async def _export_runs(
    backend: RedisBackend,
    link: Link,
    keys: NativeKeys,
    agent_id: str,
    retries: int,
    report: ExportReport,
    corrupt: list[CorruptDocumentError],
) -> None:
    listed = await _listed(link, keys, agent_id, retries)
    batch: list[tuple[str, bytes]] = []
    runs = backend.iter_runs(agent_id, on_corrupt="skip")
    async for record in runs:
        try:
            batch.append((str(record.id), to_json(record)))
        except InvalidRecordError as error:
            # A number beyond what a double holds: JSON as a text, but not as a value.
            key = Keys(backend.key_prefix).run(agent_id, record.id)
            corrupt.append(CorruptDocumentError(key.decode("utf-8", "backslashreplace"), str(error)))
            continue
        if len(batch) == _RUNS_PER_BATCH:
            listed = await _write(link, keys, agent_id, batch, listed, retries, report)
            batch = []
    corrupt += runs.corrupt
    await _write(link, keys, agent_id, batch, listed, retries, report)


async def _write(
    link: Link,
    keys: NativeKeys,
    agent_id: str,
    batch: Sequence[tuple[str, bytes]],
    listed: set[str],
    retries: int,
    report: ExportReport,
) -> set[str]:
    """Write runs and append the new ones to the agent's list, in one transaction; what the list names afterwards."""
    for attempt in range(retries + 1):
        if not batch:
            break
        new = [run_id for run_id, _ in batch if run_id not in listed]
        commands: list[Command] = [("MULTI",)]
        commands += [("SET", keys.run(agent_id, run_id), text) for run_id, text in batch]
        if new:
            commands.append(("RPUSH", keys.run_index(agent_id), *new))
        commands.append(("EXEC",))
        try:
            replies = await link.pipeline(commands)
        except ConnectionFailedError:
            # Nobody knows whether it was carried out: the list does.
            await _pause_or_raise(attempt, retries)
            listed = await _listed(link, keys, agent_id, retries)
            continue
        for reply in (*replies, *(replies[-1] if isinstance(replies[-1], list) else ())):
            if isinstance(reply, Exception):
                raise translate(reply, link.target, ("SET",)) from None
        listed |= set(new)
        report.runs += len(batch)
        report.new_runs += len(new)
        break
    return listed


async def _listed(link: Link, keys: NativeKeys, agent_id: str, retries: int) -> set[str]:
    for attempt in range(retries + 1):
        try:
            reply = await link.execute("LRANGE", keys.run_index(agent_id), 0, -1)
            return {entry.decode("utf-8", "backslashreplace") for entry in reply}
        except ConnectionFailedError:
            await _pause_or_raise(attempt, retries)
    return set()


async def _pause_or_raise(attempt: int, retries: int) -> None:
    """Wait before the next attempt, or raise the error that is being handled when this was the last one."""
    if attempt >= retries:
        raise  # noqa: PLE0704
    await sleep(_FIRST_PAUSE * 2**attempt)


def _wanted(agent_id: str, agents: Collection[str] | None) -> bool:
    # The key of a profile is made from its agent's id: "agent::model=…::seed=…".
    return agents is None or agent_id in agents or any(agent_id.startswith(f"{agent}::model=") for agent in agents)
