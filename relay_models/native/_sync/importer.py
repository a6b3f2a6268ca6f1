# ruff: noqa
# fmt: off
# Generated from relay_models/native/_async/importer.py by scripts/generate_sync.py: change that, not this.
"""`import_native`: import what is new or changed in a NeMo Relay deployment, resumable at any point."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Callable, Iterable, Sequence
from typing import Any

from pydantic_core import from_json as parse_json

from relay_models._checks import shown
from relay_models._gc import collector_paused
from relay_models.backend.sync import RedisBackend
from relay_models.backend.reports import ReadRun
from relay_models.documents import Keys
from relay_models.errors import InvalidRecordError
from relay_models.native._sync.source import IDS_PER_PAGE, NativeSource
from relay_models.native.checkpoints import Checkpoint, checkpoint_key
from relay_models.native.layout import DEFAULT_PREFIX, NativeKey
from relay_models.native.reports import ImportReport
from relay_models.query.replies import decode_body
from relay_models.records import to_json
from relay_models.records.redact import Redactions, as_redactor

__all__ = ["Importer", "import_native"]

# Artifacts per read; accumulators and observations can be large.
_ARTIFACTS_PER_BATCH = 25

Progress = Callable[[ImportReport], None]


def import_native(
    source: str | Any | NativeSource,
    backend: RedisBackend,
    *,
    native_prefix: str = DEFAULT_PREFIX,
    full: bool = False,
    on_progress: Progress | None = None,
    redact: Redactions = None,
    **redis_options: Any,
) -> ImportReport:
    """Copy a NeMo Relay deployment's state into a store: all agents, their runs in order, and all artifacts.

    Importing again reads only what was stored since: the progress per agent is saved in the target store after each
    page of runs, so an import can be interrupted at any point. Nothing is written to the source, which can be in use.
    What is deleted in the source stays in the store.

    Args:
        source: URL of the deployment's Redis (any database), a redis-py client, or a `NativeSource`.
        backend: The store.
        native_prefix: NeMo Relay's key prefix; ignored for a `NativeSource`, which has its own.
        full: Read everything again, regardless of earlier imports.
        on_progress: Called after each batch with the report so far.
        redact: What removes secrets and personal data before a run is stored: JSON paths, functions of a run, or a
            `Redactor`. It does not change artifacts.
        redis_options: Options of redis-py for the source, as for `NativeSource`.

    Returns:
        Counts by kind, and the values that could not be read, named by key; they do not stop the others.

    Raises:
        StorageError: The source or the store failed and did not recover.
        InvalidConfigurationError: `redact` cannot work.
    """
    reader = source if isinstance(source, NativeSource) else NativeSource(source, native_prefix, **redis_options)
    try:
        return Importer(reader, backend, on_progress=on_progress, redact=redact).run(full=full)
    finally:
        if reader is not source:
            reader.close()


class Importer:
    """The steps of an import, which a follower uses individually."""

    def __init__(
        self,
        source: NativeSource,
        backend: RedisBackend,
        *,
        on_progress: Progress | None = None,
        redact: Redactions = None,
    ) -> None:
        self.source = source
        self.backend = backend
        self._keys = Keys(backend.key_prefix)
        self._transport = backend.transport
        self._on_progress = on_progress
        self._redact = as_redactor(redact)
        self._digests: dict[NativeKey, bytes] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.report = ImportReport(source.label)

    def forget(self) -> None:
        """Forget what was cached: a server was down and may have lost data."""
        self._digests.clear()
        self.checkpoints.clear()

    def run(self, *, full: bool = False) -> ImportReport:
        """Import everything once."""
        report = self.report = ImportReport(self.source.label)
        found = self.source.scan()
        report.cache_entries = self.source.cache_entries
        agents = [key.agent_id for key in found if key.kind == "run_index"]
        artifacts = [key for key in found if key.kind != "run_index"]
        report.agents = len(agents)
        if full:
            self.checkpoints = {agent_id: Checkpoint() for agent_id in agents}
        else:
            self.load_checkpoints(agents)
        _, ends = self.source.ends(agents)
        report.entries = len(artifacts)
        for agent_id, end in zip(agents, ends, strict=True):
            report.entries += max(0, (end[0] if end else 0) - self.checkpoints[agent_id].position)
        for agent_id, end in zip(agents, ends, strict=True):
            if end is None:
                report.refuse(self.source.keys.run_index(agent_id), "the key does not hold a list of run ids")
            else:
                self.import_runs(agent_id, end[0])
        self.import_artifacts(artifacts)
        report.elapsed = time.monotonic() - report.started
        self._progress(0)
        return report

    def load_checkpoints(self, agent_ids: Iterable[str]) -> None:
        """Load the checkpoints of agents that are not known yet."""
        new = [agent_id for agent_id in agent_ids if agent_id not in self.checkpoints]
        for start in range(0, len(new), 500):
            part = new[start : start + 500]
            replies = self._transport.pipeline([("JSON.GET", self._checkpoint_key(agent)) for agent in part])
            for agent_id, reply in zip(part, replies, strict=True):
                text = None if isinstance(reply, Exception) else reply
                self.checkpoints[agent_id] = Checkpoint.from_json(text)

    def check_store(self) -> None:
        """Call `forget` if the store lost its checkpoints, for example because it was emptied."""
        known, self.checkpoints = self.checkpoints, {}
        self.load_checkpoints(known)
        if any(self.checkpoints[agent_id].position < known[agent_id].position for agent_id in known):
            self.forget()

    def import_runs(self, agent_id: str, length: int) -> None:
        """Store the runs that were added to an agent's list, of this length, since its checkpoint."""
        checkpoint = self.checkpoints[agent_id]
        self._verify(agent_id, checkpoint, length)
        if checkpoint.bad:
            again, checkpoint.bad = checkpoint.bad, []
            checkpoint.mark_bad(self._store(agent_id, again))
            self._save(agent_id, checkpoint)
        while checkpoint.position < length or not length:
            first = checkpoint.position
            ids = self.source.run_ids(agent_id, first, first + IDS_PER_PAGE - 1)
            if not ids:
                break
            # Once per page, not once in total: a run of an earlier page may have been stored again after it was read.
            new = list(dict.fromkeys(ids))
            self.report.done += len(ids) - len(new)
            checkpoint.mark_bad(self._store(agent_id, new))
            checkpoint.advance(ids)
            self._save(agent_id, checkpoint)

    def import_artifacts(self, keys: Sequence[NativeKey]) -> None:
        """Store the artifacts that are missing or different in the store."""
        for start in range(0, len(keys), _ARTIFACTS_PER_BATCH):
            part = keys[start : start + _ARTIFACTS_PER_BATCH]
            texts = self.source.texts([self.source.keys.of(key) for key in part])
            changed: list[tuple[NativeKey, bytes, bytes]] = []
            for key, text in zip(part, texts, strict=True):
                if isinstance(text, bytes):
                    digest = hashlib.blake2b(text, digest_size=16).digest()
                    if self._digests.get(key) == digest:
                        self.report.unchanged += 1
                    else:
                        changed.append((key, text, digest))
                elif text is not None:
                    self.report.refuse(self.source.keys.of(key), str(text))
            self._store_artifacts(changed)
            self._progress(len(part))

    def _store_artifacts(self, changed: Sequence[tuple[NativeKey, bytes, bytes]]) -> None:
        if not changed:
            return
        replies = self._transport.pipeline(
            [("JSON.GET", self._keys.document(key.kind, key.agent_id), "$.record") for key, _, _ in changed]
        )
        for (key, text, digest), reply in zip(changed, replies, strict=True):
            try:
                if _same(text, reply):
                    self.report.unchanged += 1
                else:
                    record = self.source.read(key, text)
                    if key.kind == "plan" and record.agent_id != key.agent_id:
                        raise InvalidRecordError(f"the plan in it is of the agent {shown(record.agent_id)}", "agent_id")
                    self._put(key, record)
                    self.report.artifacts[key.kind] = self.report.artifacts.get(key.kind, 0) + 1
            except InvalidRecordError as error:
                self.report.refuse(self.source.keys.of(key), str(error))
            # A follower reports an unreadable value once, and reads it again when it has changed.
            self._digests[key] = digest

    def _put(self, key: NativeKey, record: Any) -> None:
        store = getattr(self.backend, f"store_{key.kind}")
        (store(record) if key.kind == "plan" else store(key.agent_id, record))

    def _verify(self, agent_id: str, checkpoint: Checkpoint, length: int) -> None:
        """Check that the list is the one of the checkpoint; otherwise find the position in it, or start again."""
        if not checkpoint.position:
            return
        first, last = checkpoint.window()
        if last < length and self.source.run_ids(agent_id, first, last) == checkpoint.anchor:
            return
        place = checkpoint.find_in(self.source.run_ids(agent_id))
        self.report.entries += max(0, length - place) - max(0, length - checkpoint.position)
        checkpoint.position = place
        if not place:
            checkpoint.anchor = []

    def _store(self, agent_id: str, run_ids: Sequence[str]) -> list[str]:
        """Store runs by id; report and return those that cannot be read."""
        bad: list[str] = []
        given: list[str] = []
        with collector_paused():
            outcome = self.backend.store_runs(self._read(agent_id, run_ids, bad, given), on_refused="skip")
        self.report.created += outcome.created
        self.report.replaced += outcome.replaced
        for refused in outcome.refused:
            run_id = given[refused.position]
            bad.append(run_id)
            self.report.refuse(self.source.keys.run(agent_id, run_id), str(refused.error))
        return bad

    def _read(
        self, agent_id: str, run_ids: Sequence[str], bad: list[str], given: list[str]
    ) -> Iterator[ReadRun]:
        report, read_run = self.report, self.source.read_run
        for batch in self.source.iter_texts(agent_id, run_ids):
            for run_id, text in batch:
                if text is None:
                    report.missing += 1
                    continue
                try:
                    record, text, notes = read_run(agent_id, run_id, text)
                except InvalidRecordError as error:
                    bad.append(run_id)
                    report.refuse(self.source.keys.run(agent_id, run_id), str(error))
                    continue
                stored = ReadRun(record, text)
                if self._redact is not None:
                    try:
                        redacted = self._redact(record)
                    except Exception as error:
                        bad.append(run_id)
                        report.refuse(self.source.keys.run(agent_id, run_id), f"its redaction failed: {error}")
                        continue
                    if redacted is None:
                        report.withheld += 1
                        continue
                    stored = ReadRun(redacted, text if redacted is record else to_json(redacted))
                given.append(run_id)
                if notes:
                    report.note(self.source.keys.run(agent_id, run_id), notes)
                if record.ended_at is not None:
                    report.newest_end_ns = max(record.ended_at.nanoseconds, report.newest_end_ns or 0)
                yield stored
            self._progress(len(batch))

    def _save(self, agent_id: str, checkpoint: Checkpoint) -> None:
        self._transport.execute("JSON.SET", self._checkpoint_key(agent_id), "$", checkpoint.to_json())

    def _checkpoint_key(self, agent_id: str) -> str:
        return checkpoint_key(self.backend.key_prefix, self.source.label, self.source.keys.prefix, agent_id)

    def _progress(self, count: int) -> None:
        self.report.done += count
        if self._on_progress is not None:
            self._on_progress(self.report)


def _same(text: bytes, reply: Any) -> bool:
    """Whether a stored document has the same JSON value as `text`; the texts may differ."""
    try:
        stored = None if isinstance(reply, Exception) else decode_body(reply)
        return stored is not None and bool(parse_json(stored) == parse_json(text))
    except ValueError:
        return False
