"""`Runs`: storing runs one by one or in bulk, loading, listing, streaming and deleting them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, cast
from uuid import UUID

from relay_models._checks import check_count
from relay_models._gc import collector_paused
from relay_models.backend._async.base import BackendBase, RunT
from relay_models.backend._async.rewrite import ColumnRewriter
from relay_models.backend._async.streams import RowStream, until_failure
from relay_models.backend.clock_check import ClockCheck
from relay_models.backend.reports import ReadRun, RefusedRecord, StoreReport, refusal_text
from relay_models.documents import Run, encode_run, merge_run
from relay_models.documents.kinds import checked_record
from relay_models.documents.schema import stamp_name
from relay_models.errors import (
    CorruptDocumentError,
    CorruptDocumentsError,
    InvalidRecordError,
    MissingModuleError,
    PermissionDeniedError,
    RefusedRecordsError,
    RelayModelsError,
)
from relay_models.query.options import OnCorrupt, check_outcomes
from relay_models.query.order import Order
from relay_models.query.replies import decode_body
from relay_models.query.rows import KeyReader, RecordReader, corrupt_document
from relay_models.records import RunRecord, from_json
from relay_models.records.prices import PriceTable
from relay_models.transport import AnyIterable, Command, Pipeline, Transaction, translate

__all__ = ["Runs"]

# Rows per page while listing: keys (about 100 bytes each), and records (some kilobytes each, but there are runs of
# megabytes).
_KEYS_PER_PAGE, _RUNS_PER_PAGE = 10_000, 500
# Maximum bytes per batch of `store_runs`.
_BATCH_BYTES = 4_000_000
# The columns that hold when a run was stored.
_STAMPS = ("stored_at", "updated_at")
# Microseconds that a batch may take to fill.
_PATIENCE = 1_000_000


@dataclass(slots=True)
class _Batch:
    """Records on their way: `numbers` are their places in the input.

    One whose JSON text is available is held as that text: reading the next into warm memory is half the time. `begun`
    is the first of the times of storing that are written in the documents, and `corrections` those of the clock then.
    `check` tells whether the clock was right.
    """

    records: list[RunRecord | bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    size: int = 0
    begun: int = 0
    again: bool = False
    corrections: int = 0
    check: ClockCheck | None = None

    def add(self, record: RunRecord | bytes, number: int, size: int, command: Command) -> None:
        self.records.append(record)
        self.numbers.append(number)
        self.commands.append(command)
        self.size += size

    def is_full(self, count: int) -> bool:
        return len(self.records) >= count or self.size >= _BATCH_BYTES


class Runs(BackendBase[RunT]):
    """The operations on runs."""

    async def store_run(self, record: RunRecord) -> None:
        """Store a run. One that is stored already is replaced and keeps its place in the list.

        Raises `InvalidRecordError` for what is not a run or cannot be written as JSON.
        """
        self._indexes.check_writable("run")
        await self.compression.prepare(1)
        corrections = self._clock.corrections
        now = self._clock.now()
        key, document = self._encode(record, now)
        (reply,) = await self._store.write("run", now, self._creation(key, document))
        created = _first(reply)
        if created is None:
            (reply,) = await self._transport.pipeline([self._replacement(record, self._clock.now())])
            created = _first(reply)
        elif self._clock.corrections != corrections:
            await self._store.stamp_again([(key, self._stamps())])
        if isinstance(created, Exception):
            raise translate(created, self._transport.target, ("JSON.SET",)) from None

    async def store_runs(
        self,
        records: AnyIterable[RunRecord] | AnyIterable[ReadRun],
        *,
        batch_size: int = 200,
        on_refused: Literal["raise", "skip"] = "raise",
    ) -> StoreReport:
        """Store many runs: the next batch is serialised while the server works on the last.

        A source that takes its time is not waited for: once a second has passed, each record is sent as it comes.

        Every record that can be stored is stored, whatever the others are. Refused ones (not a run, not writable as
        JSON, or refused by the server) are named in the report; with ``on_refused="raise"`` (the default)
        `RefusedRecordsError` is raised at the end, with the report in its ``report``. When the iterable itself raises,
        what it gave before is stored first; when the connection is lost for good, `ConnectionFailedError` is raised
        and a part may be stored: storing the same runs again is harmless.
        """
        check_count("batch_size", batch_size)
        check_outcomes(on_refused=on_refused)
        if isinstance(records, RunRecord) or not (hasattr(records, "__iter__") or hasattr(records, "__aiter__")):
            raise InvalidRecordError(f"records is an iterable of runs, not {type(records).__name__}")
        self._indexes.check_writable("run")
        await self.compression.prepare()
        report = StoreReport()
        failures: list[Exception] = []
        batch = _Batch()
        number = -1
        sent = self._clock.now()
        source = until_failure(records, failures)
        has_more = True
        while has_more:
            has_more = False
            async with self._transport.conversation() as conversation:
                waiting: deque[_Batch] = deque()
                async for record in source:
                    number += 1
                    body = None
                    if isinstance(record, ReadRun):
                        record, body = record
                    now = self._clock.now()
                    try:
                        self._add(batch, record, number, now, body)
                    except InvalidRecordError as error:
                        report.refused.append(_refused(number, record, error))
                        continue
                    slow = now - sent >= _PATIENCE
                    if slow or batch.is_full(batch_size):
                        full, batch = batch, _Batch()
                        await self._exchange(conversation, waiting, full, report)
                        while slow and waiting:
                            await self._settle(conversation, waiting, report)
                        sent = self._clock.now()
                        if self.compression.is_due(len(full.records)):
                            has_more = True
                            break
                if batch.commands:
                    await self._exchange(conversation, waiting, batch, report)
                    batch = _Batch()
                while waiting:
                    await self._settle(conversation, waiting, report)
            if has_more:
                # Without a connection held: a pool may have no other one.
                await self.compression.prepare()
        if failures:
            raise failures[0]
        if report.refused and on_refused == "raise":
            raise RefusedRecordsError(refusal_text(report.refused, report.stored), report)
        return report

    async def load_run(self, agent_id: str, run_id: UUID | str) -> RunRecord | None:
        """The run, or None. Raises `CorruptDocumentError` where its document cannot be read."""
        key = self._keys.run(agent_id, run_id)
        reply = await self._transport.read("JSON.GET", key, "$.record")
        try:
            text = decode_body(reply)
            return None if text is None else from_json(RunRecord, await self._dictionaries.read(text.encode()))
        except ValueError as error:
            raise corrupt_document(key, error) from None

    async def run_texts(self, runs: Sequence[RunRecord]) -> list[bytes | None]:
        """The JSON texts of what is stored under the agents and ids of runs, in their order.

        None stands where nothing is stored that can be read. Raises `InvalidRecordError` for what is not a run.
        """
        if isinstance(runs, str | bytes) or not isinstance(runs, Sequence):
            raise InvalidRecordError(f"runs is a list of RunRecord, not {type(runs).__name__}")
        for run in runs:
            checked_record("run", run)
        keys = [self._keys.run(run.agent_id, run.id) for run in runs]
        if not keys:
            return []
        texts: list[bytes | None] = []
        for reply in await self._transport.pipeline([("JSON.GET", key, "$.record") for key in keys]):
            try:
                text = None if isinstance(reply, Exception) else decode_body(reply)
                texts.append(None if text is None else await self._dictionaries.read(text.encode()))
            except ValueError:
                texts.append(None)
        return texts

    async def list_runs(self, agent_id: str, *, on_corrupt: OnCorrupt = "raise") -> list[RunRecord]:
        """List all runs of an agent, each once, in the order in which they were first stored.

        Args:
            agent_id: the agent.
            on_corrupt: ``"skip"`` leaves out documents that cannot be read.

        Raises:
            CorruptDocumentsError: documents cannot be read; it names each by key, and ``good`` has the other runs.
        """
        check_outcomes(on_corrupt=on_corrupt)
        runs: list[RunRecord] = []
        corrupt: list[CorruptDocumentError] = []
        async with aclosing(self._record_pages(agent_id, corrupt)) as pages:
            with collector_paused():
                async for page in pages:
                    runs += page
        if corrupt and on_corrupt == "raise":
            raise CorruptDocumentsError(corrupt, runs)
        return runs

    def iter_runs(self, agent_id: str, *, on_corrupt: OnCorrupt = "raise") -> RowStream[RunRecord]:
        """Stream the runs that `list_runs` gives, in bounded memory.

        No connection is held between two runs.

        Args:
            agent_id: the agent.
            on_corrupt: ``"raise"`` raises `CorruptDocumentsError` after the last run; ``"skip"`` does not.

        Returns:
            An async iterator of runs. Documents that cannot be read are in its ``corrupt``.
        """
        check_outcomes(on_corrupt=on_corrupt)
        return RowStream(lambda corrupt: self._iter_runs(agent_id, on_corrupt, corrupt))

    async def _iter_runs(
        self, agent_id: str, on_corrupt: OnCorrupt, corrupt: list[CorruptDocumentError]
    ) -> AsyncGenerator[RunRecord, None]:
        async with aclosing(self._record_pages(agent_id, corrupt)) as pages:
            async for page in pages:
                page.reverse()
                while page:
                    yield page.pop()
        if corrupt and on_corrupt == "raise":
            raise CorruptDocumentsError(corrupt, [])

    async def _record_pages(
        self, agent_id: str, corrupt: list[CorruptDocumentError]
    ) -> AsyncGenerator[list[RunRecord], None]:
        """The records of an agent's runs in list order, page after page."""
        order = Order(Run.columns()["stored_at"], omits_missing=True)
        reader = RecordReader(lambda text: from_json(RunRecord, text))
        pages = await self.runs.read(
            Run.agent_id == agent_id, order, reader, _RUNS_PER_PAGE, store=self._store.questions
        )
        try:
            while (page := await pages.page()) is not None:
                yield page
        finally:
            await pages.close()
        found = {error.key: error for error in pages.pager.take_corrupt()}
        found |= {error.key: error for error in await self._unindexed.of_agent(agent_id)}
        corrupt += found.values()

    async def estimate_costs(self, prices: PriceTable) -> None:
        """Estimate the costs of all stored runs by a price table, instead of by the one they were stored with.

        Times of storing stay as they are. Runs may be stored meanwhile.

        Args:
            prices: the table; runs without a price in it have no estimate afterwards.

        Raises:
            PermissionDeniedError: the user may not run ``EVAL``.
        """
        rewriter = ColumnRewriter(
            self._transport,
            self._keys,
            self._dictionaries,
            self._run_document,
            text=self._indexes.text,
            prices=prices,
        )
        await rewriter.rewrite_all()

    async def delete_run(self, agent_id: str, run_id: UUID | str) -> bool:
        """Delete a run; False where there was none."""
        return bool(await self._transport.execute("DEL", self._keys.run(agent_id, run_id)))

    async def trim_runs(self, agent_id: str, keep: int) -> int:
        """Keep the `keep` runs of an agent that were stored last and delete the others.

        By age, ``delete_runs(Run.started_at < some_time)`` does it; automatically, a backend with a `run_ttl`.

        Returns:
            How many were deleted.

        Raises:
            InvalidConfigurationError: `keep` is negative or no number.
        """
        check_count("keep", keep, 0)
        keys = await self._run_keys(agent_id)
        return await self._store.delete_keys(keys[: max(0, len(keys) - keep)])

    async def _run_keys(self, agent_id: str) -> list[bytes]:
        """The keys of an agent's indexed runs, in list order."""
        order = Order(Run.columns()["stored_at"], omits_missing=True)
        pages = await self.runs.read(Run.agent_id == agent_id, order, KeyReader(), _KEYS_PER_PAGE)
        keys: list[bytes] = []
        try:
            while (page := await pages.page()) is not None:
                keys += page
        finally:
            await pages.close()
        return keys + [error.key.encode() for error in pages.pager.take_corrupt()]

    def _stamps(self) -> tuple[str, ...]:
        """The members of a document that hold when it was stored."""
        return (*_STAMPS, stamp_name(self._run_document, text=self._indexes.text))

    def _encode(self, record: RunRecord, now: int, body: bytes | None = None) -> tuple[bytes, bytes]:
        document = encode_run(
            record,
            now,
            text=self._indexes.text,
            body=body,
            document_type=self._run_document,
            estimated_cost=self._estimated_cost(record),
            pack=self._pack,
        )
        return self._keys.run(record.agent_id, record.id), document

    def _creation(self, key: bytes, document: bytes) -> Command:
        """The command that stores a run that is new; its reply is None where there is one already."""
        command: Command = ("JSON.SET", key, "$", document, "NX")
        return Transaction(command, *self._expiry(key)) if self._run_ttl_ms else command

    def _replacement(self, record: RunRecord, now: int) -> Transaction:
        """What replaces a document and keeps when it was first stored, unless another client deleted it meanwhile."""
        key = self._keys.run(record.agent_id, record.id)
        document = merge_run(
            record,
            now,
            text=self._indexes.text,
            document_type=self._run_document,
            estimated_cost=self._estimated_cost(record),
            pack=self._pack,
        )
        return Transaction(
            ("JSON.MERGE", key, "$", document),
            ("JSON.SET", key, "$.stored_at", str(now), "NX"),
            *self._expiry(key),
        )

    @property
    def _pack(self) -> Callable[[bytes], str] | None:
        """What compresses the texts of records; None where they are kept plain."""
        return self._dictionaries.pack if self._indexes.compressed else None

    def _estimated_cost(self, record: RunRecord) -> float | None:
        """Estimated cost of the calls that tell none; what is no run is refused later."""
        return self._prices.estimate_run(record) if self._prices and isinstance(record, RunRecord) else None

    def _expiry(self, key: bytes) -> list[Command]:
        """What makes a run expire, where this backend has a `run_ttl`."""
        return [("PEXPIRE", key, self._run_ttl_ms)] if self._run_ttl_ms else []

    def _add(self, batch: _Batch, record: RunRecord, number: int, now: int, body: bytes | None) -> None:
        """Put a run into a batch, as stored at `now`."""
        key, document = self._encode(record, now, body)
        if not batch.records:
            batch.begun, batch.corrections = now, self._clock.corrections
        batch.add(body or record, number, len(document), self._creation(key, document))

    def _up_to_date(self, batch: _Batch) -> _Batch:
        """A batch that is about to be sent: as stored now, and not when it began to wait for more.

        Who watches the store looks for what is new at the times of storing.
        """
        if batch.again or self._clock.now() - batch.begun < _PATIENCE:
            return batch
        stamped = _Batch()
        for held, number in zip(batch.records, batch.numbers, strict=True):
            body = held if isinstance(held, bytes) else None
            self._add(stamped, _record_of(held), number, self._clock.now(), body)
        return stamped

    async def _exchange(
        self, conversation: Pipeline, waiting: deque[_Batch], batch: _Batch, report: StoreReport
    ) -> None:
        """Send a batch, and read the replies to the one before it."""
        batch = self._up_to_date(batch)
        batch.check = ClockCheck(self._clock, self._keys.alias("run"), batch.begun or self._clock.now())
        await conversation.send([*batch.check.commands, *batch.commands])
        waiting.append(batch)
        # Where the clock was corrected, what is under way is stamped again before anything more is stamped: in order.
        while len(waiting) > 1 or (waiting and self._is_stale(waiting[0])):
            await self._settle(conversation, waiting, report)

    def _is_stale(self, batch: _Batch) -> bool:
        """Whether a batch has stamps of a clock that was corrected since."""
        return not batch.again and self._clock.corrections != batch.corrections

    async def _settle(self, conversation: Pipeline, waiting: deque[_Batch], report: StoreReport) -> None:
        """Read the replies to the oldest batch; runs that were there already are sent again as replacements."""
        batch = waiting.popleft()
        replies: list[Any] = await conversation.receive()
        if batch.check is not None:
            batch.check.receive(replies)
            replies = replies[len(batch.check.commands) :]
        again = _Batch(again=True)
        created: list[Any] = []
        for held, number, command, reply in zip(batch.records, batch.numbers, batch.commands, replies, strict=True):
            result = _first(reply)
            if isinstance(result, Exception):
                error = translate(result, self._transport.target, command)
                if isinstance(error, PermissionDeniedError | MissingModuleError):
                    raise error from None
                report.refused.append(_refused(number, _record_of(held), error))
            elif batch.again:
                report.replaced += 1
            elif result is None:
                record = _record_of(held)
                again.add(record, number, 0, self._replacement(record, self._clock.now()))
            else:
                report.created += 1
                created.append(cast(bytes, command[1]))
        if self._is_stale(batch):
            await self._store.stamp_again([(key, self._stamps()) for key in created])
        if again.commands:
            await conversation.send(again.commands)
            waiting.append(again)


def _first(reply: Any) -> Any:
    """The reply to the first command of a `Transaction`, or the first error; any other reply is returned as it is."""
    if not isinstance(reply, list):
        return reply
    return next((one for one in reply if isinstance(one, Exception)), reply[0])


def _record_of(held: RunRecord | bytes) -> RunRecord:
    return from_json(RunRecord, held) if isinstance(held, bytes) else held


def _refused(number: int, record: Any, error: RelayModelsError) -> RefusedRecord:
    agent_id, run_id = getattr(record, "agent_id", None), getattr(record, "id", None)
    return RefusedRecord(
        number, None if agent_id is None else str(agent_id), None if run_id is None else str(run_id), error
    )
