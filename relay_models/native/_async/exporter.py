"""`export_native`: write a store's runs and artifacts as native keys, for a warm start of NeMo Relay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from relay_models._checks import shown
from relay_models._glob import escape_glob
from relay_models.backend import RedisBackend
from relay_models.documents import Keys
from relay_models.errors import (
    ConnectionFailedError,
    CorruptDocumentError,
    CorruptDocumentsError,
    InvalidConfigurationError,
    InvalidRecordError,
)
from relay_models.native._async.source import open_native
from relay_models.native.layout import ARTIFACT_KINDS, DEFAULT_PREFIX, NativeKeys
from relay_models.native.reports import ExportReport
from relay_models.records import RunRecord, strip_extensions, to_json
from relay_models.transport import Backoff, Command, ConnectionOptions, Transport, sleep, translate

__all__ = ["export_native"]

_RUNS_PER_BATCH = 100
# First and longest backoff after a lost connection (seconds).
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.1, 5.0


async def export_native(
    backend: RedisBackend,
    target: str | Any,
    *,
    native_prefix: str = DEFAULT_PREFIX,
    agents: Collection[str] | None = None,
    runs: bool = True,
    strip: bool = True,
    timeout: float | None = 30.0,
    connect_timeout: float | None = 5.0,
    retries: int = 5,
    **redis_options: Any,
) -> ExportReport:
    """Write a store's state as native keys, so that a NeMo Relay process starts with what another one learned.

    Artifacts replace those of the target. Runs that are not in the target's lists are appended in the store's order;
    the others get the store's content and keep their position. Exporting again changes nothing.

    Args:
        backend: The store.
        target: URL of the Redis that NeMo Relay will use (any database), or a redis-py client.
        native_prefix: The key prefix that NeMo Relay will be configured with.
        agents: Only these agents, with the profiles derived from them (``agent::model=…``); None for all.
        runs: Whether to write the runs, or only what was learned from them.
        strip: Whether to leave the extensions out of the runs, so that they are as NeMo Relay writes them.
        timeout: How long to wait for a reply (seconds); None for no limit.
        connect_timeout: How long to wait for a connection (seconds).
        retries: Maximum number of attempts after a lost connection.
        redis_options: Other options of redis-py for the target.

    Returns:
        Counts of what was written.

    Raises:
        InvalidConfigurationError: `agents` is a text, or another option cannot work.
        StorageError: The store or the target failed and did not recover.
        CorruptDocumentsError: Stored documents cannot be read, or cannot be written as native values. They are named,
            and everything else is written.
    """
    if isinstance(agents, str):
        raise InvalidConfigurationError(f"agents is a list of agents' ids, such as [{shown(agents)}]")
    keys = NativeKeys(native_prefix)
    options = ConnectionOptions(timeout=timeout, connect_timeout=connect_timeout, retries=retries, max_connections=10)
    transport = open_native(target, options, redis_options)
    report = ExportReport()
    corrupt: list[CorruptDocumentError] = []
    try:
        for kind in ARTIFACT_KINDS:
            for agent_id in await _artifact_agents(backend, kind):
                if _wanted(agent_id, agents):
                    try:
                        await _export_artifact(backend, transport, keys, kind, agent_id, report)
                    except CorruptDocumentError as error:
                        corrupt.append(error)
        if runs:
            for summary in await backend.agents():
                if _wanted(summary.agent_id, agents):
                    await _export_runs(backend, transport, keys, summary.agent_id, strip, report, corrupt)
    finally:
        await transport.close()
    if corrupt:
        raise CorruptDocumentsError(corrupt, None)
    return report


async def _artifact_agents(backend: RedisBackend, kind: str) -> list[str]:
    """Return the agents that have an artifact of this kind, sorted."""
    keys = Keys(backend.key_prefix)
    found: set[str] = set()
    cursor: bytes | int = 0
    while True:
        pattern = escape_glob(keys.root(kind)) + b"*"
        cursor, names = await backend.transport.execute("SCAN", cursor, "MATCH", pattern, "COUNT", 5000)
        found.update(keys.split(kind, name) for name in names)
        if int(cursor) == 0:
            return sorted(found)


async def _export_artifact(
    backend: RedisBackend, transport: Transport, keys: NativeKeys, kind: str, agent_id: str, report: ExportReport
) -> None:
    record = await getattr(backend, f"load_{kind}")(agent_id)
    if record is None:
        return
    command = ("SET", keys.artifact(kind, agent_id), to_json(record))
    await transport.execute(*command)
    report.artifacts[kind] = report.artifacts.get(kind, 0) + 1


async def _export_runs(
    backend: RedisBackend,
    transport: Transport,
    keys: NativeKeys,
    agent_id: str,
    strip: bool,
    report: ExportReport,
    corrupt: list[CorruptDocumentError],
) -> None:
    listed = await _listed(transport, keys, agent_id)
    batch: list[tuple[str, bytes]] = []
    runs = backend.iter_runs(agent_id, on_corrupt="skip")
    async for record in runs:
        try:
            batch.append((str(record.id), _text(record, strip)))
        except InvalidRecordError as error:
            # A number beyond the range of a double: valid as JSON text, but not as a value.
            key = Keys(backend.key_prefix).run(agent_id, record.id)
            corrupt.append(CorruptDocumentError(key.decode("utf-8", "backslashreplace"), str(error)))
            continue
        if len(batch) == _RUNS_PER_BATCH:
            listed = await _write(transport, keys, agent_id, batch, listed, report)
            batch = []
    corrupt += runs.corrupt
    await _write(transport, keys, agent_id, batch, listed, report)


def _text(record: RunRecord, strip: bool) -> bytes:
    """The record as JSON; with `strip` as NeMo Relay would have written it. Most have nothing to leave out."""
    text = to_json(record)
    return to_json(strip_extensions(record)) if strip and b'"relay_models"' in text else text


async def _write(
    transport: Transport,
    keys: NativeKeys,
    agent_id: str,
    batch: Sequence[tuple[str, bytes]],
    listed: set[str],
    report: ExportReport,
) -> set[str]:
    """Write runs and append the new ones to the agent's list, in one transaction where there is one server.

    Returns:
        The list's new content.
    """
    if not batch:
        return listed
    backoff = Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF)
    for attempt in range(transport.retries + 1):
        new = [run_id for run_id, _ in batch if run_id not in listed]
        sets: list[Command] = [("SET", keys.run(agent_id, run_id), text) for run_id, text in batch]
        pushes: list[Command] = [("RPUSH", keys.run_index(agent_id), *new)] if new else []
        try:
            # RPUSH must not be sent twice.
            if transport.is_cluster:  # no transaction over several nodes: the list never names what is not there yet
                replies = await transport.pipeline(sets)
                replies += await transport.pipeline(pushes, retry=False) if pushes else []
            else:
                replies = await transport.pipeline([("MULTI",), *sets, *pushes, ("EXEC",)], retry=False)
        except ConnectionFailedError:
            if attempt == transport.retries:
                raise
            # It is unknown whether the transaction was executed; the list shows it.
            await sleep(backoff.next())
            listed = await _listed(transport, keys, agent_id)
            continue
        for reply in (*replies, *(replies[-1] if isinstance(replies[-1], list) else ())):
            if isinstance(reply, Exception):
                raise translate(reply, transport.target, ("SET",)) from None
        listed |= set(new)
        report.runs += len(batch)
        report.new_runs += len(new)
        break
    return listed


async def _listed(transport: Transport, keys: NativeKeys, agent_id: str) -> set[str]:
    """Return the run ids in an agent's list."""
    reply = await transport.execute("LRANGE", keys.run_index(agent_id), 0, -1)
    return {entry.decode("utf-8", "backslashreplace") for entry in reply}


def _wanted(agent_id: str, agents: Collection[str] | None) -> bool:
    # A profile key is derived from its agent's id: "agent::model=…::seed=…".
    return agents is None or agent_id in agents or any(agent_id.startswith(f"{agent}::model=") for agent in agents)
