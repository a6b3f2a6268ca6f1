# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/model_collection.py by scripts/generate_sync.py: change that, not this.
"""`ModelCollection`: saving, changing and following documents of a user's own model."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast, overload

from pydantic import BaseModel
from pydantic_core import from_json

from relay_models._checks import shown
from relay_models.backend._sync.collection import Collection
from relay_models.backend._sync.store import Store
from relay_models.backend._sync.streams import until_failure
from relay_models.backend.clock_check import ClockCheck
from relay_models.backend.reports import RefusedRecord, StoreReport, refusal_text
from relay_models.columns.column import Column, find_column
from relay_models.columns.tags import unescape_tag
from relay_models.documents import Document, EncodedItem, Run, codec_of
from relay_models.documents.own_models import check_ttl, key_text
from relay_models.documents.schema import stamp_name
from relay_models.errors import (
    ConflictError,
    CorruptDocumentError,
    InvalidRecordError,
    MissingModuleError,
    NotFoundError,
    PermissionDeniedError,
    QueryError,
    RefusedRecordsError,
    RelayModelsError,
)
from relay_models.query.options import Filter, check_outcomes
from relay_models.transport.sync import AnyIterable, Command, Pipeline, Transaction, translate

__all__ = ["ModelCollection"]

D = TypeVar("D", bound=Document)
T = TypeVar("T")
L = TypeVar("L", bound=Document)

# Documents per pipeline.
_AT_ONCE = 200
# Microseconds that a batch may take to fill.
_PATIENCE = 1_000_000
# Changes of one document by others that one update outlasts.
_ATTEMPTS = 100
_FIELDS = ("$.pk", "$.record", "$.stored_at", "$.updated_at")
# Compares texts only: Lua's numbers are doubles. A server gives several paths in any order, so each is looked for in
# what was read, where no text can hold it: there are no bare quotes in texts. KEYS[1] the key; ARGV[1] what it had when
# it was read, ARGV[2] the patch, ARGV[3] the time to live (milliseconds), 0 to keep it as it is.
_SWAP = """
for _, path in ipairs({'$.pk', '$.record', '$.stored_at', '$.updated_at'}) do
  local found = redis.call('JSON.GET', KEYS[1], path)
  if not found or not string.find(ARGV[1], '"' .. path .. '":' .. found, 1, true) then return 0 end
end
redis.call('JSON.MERGE', KEYS[1], '$', ARGV[2])
if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
"""
# Stores a document and its time to live where there is none; one that there is keeps its own.
_CREATE = """
if not redis.call('JSON.SET', KEYS[1], '$', ARGV[1], 'NX') then return false end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


@dataclass(slots=True)
class _Saving:
    """An item on its way: its place in the input, its key, its document, when it is saved."""

    number: int
    item: Any
    key: bytes
    document: EncodedItem
    now: int


@dataclass(slots=True)
class _Batch:
    """Items on their way, each with its command; `replaces` says that these replace documents."""

    replaces: bool = False
    items: list[_Saving] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    corrections: int = 0
    check: ClockCheck | None = None


class ModelCollection(Collection[D]):
    """The documents of one model of a user's, reached as ``backend.collection(Feedback)``.

    An id is an item's ``pk``, the value of its natural key, or a tuple of the values where several fields are the key.

    Example:
        ```python
        feedback = backend.collection(Feedback)
        feedback.save(Feedback(run_id=run.id, rating=2))
        page = feedback.find(Feedback.rating <= 2, order_by="-stored_at")
        ```
    """

    _delete_one = "delete_one(id) deletes one document, delete_many(ids) several"

    def __init__(self, store: Store, document: type[D], follow: Callable[[type[Document]], Collection[Any]]) -> None:
        super().__init__(store, document)
        self._follow = follow
        settings = document._settings
        assert settings is not None
        self._codec = codec_of(document)
        self._key_fields = settings.key
        self._ttl_ms = check_ttl(settings.ttl, document.__name__)

    def save(self, item: D, *, if_absent: bool = False, ttl: timedelta | None = None) -> bool:
        """Save an item; one with the same id is replaced, and keeps its ``stored_at``.

        Args:
            item: the item; it gets its ``stored_at`` and ``updated_at``.
            if_absent: leave a document that there is as it is.
            ttl: how long it is kept, in place of the model's own time to live.

        Returns:
            Whether it was saved: False only where `if_absent` is set and there is one.

        Raises:
            InvalidRecordError: the item is not valid, or a value would not be read back as it is. Nothing is stored.
        """
        wait = self._wait(ttl)
        self._prepare()
        clock = self._store.clock
        corrections, now = clock.corrections, clock.now()
        saving = _Saving(0, item, self._item_key(item), self._codec.encode(item), now)
        (reply,) = self._store.write(self.document._kind, now, self._creation(saving, if_absent, wait))
        stored = _result(reply)
        if isinstance(stored, Exception):
            raise translate(stored, self._store.transport.target, ("JSON.SET",)) from None
        if stored is None:
            if if_absent:
                return False
            saving.now = clock.now()
            (reply,) = self._send([self._replacement(saving, wait)])
            self._stamp(item, _stored_at(reply, saving.now), saving.now)
            return True
        self._stamp(item, now, now)
        if clock.corrections != corrections:
            self._stamp_again([saving])
        return True

    def save_many(
        self,
        items: AnyIterable[D],
        *,
        if_absent: bool = False,
        ttl: timedelta | None = None,
        on_refused: Literal["raise", "skip"] = "raise",
    ) -> StoreReport:
        """Save many items, as `save` does; every one that can be saved is.

        Args:
            items: the items.
            if_absent: leave documents that there are as they are.
            ttl: how long they are kept, in place of the model's own time to live.
            on_refused: ``"skip"`` only names items that were refused in the report.

        Returns:
            How many are new, how many replaced one, and which were refused.

        Raises:
            RefusedRecordsError: items were refused; ``report`` names each.
        """
        check_outcomes(on_refused=on_refused)
        self._check_several(items, "save_many", "save(item) saves one")
        wait = self._wait(ttl)
        self._prepare()
        report, waiting = StoreReport(), deque[_Batch]()
        batch, number, begun = _Batch(corrections=self._store.clock.corrections), -1, self._store.clock.now()
        failures: list[Exception] = []
        with self._store.transport.conversation() as conversation:
            for item in until_failure(items, failures):
                number += 1
                try:
                    key, document = self._item_key(item), self._codec.encode(item)
                except InvalidRecordError as error:
                    report.refused.append(_refused(number, item, error))
                    continue
                saving = _Saving(number, item, key, document, self._store.clock.now())
                batch.commands.append(self._creation(saving, if_absent, wait))
                batch.items.append(saving)
                is_slow = saving.now - begun >= _PATIENCE
                if len(batch.items) >= _AT_ONCE or is_slow:
                    full, batch, begun = batch, _Batch(corrections=self._store.clock.corrections), saving.now
                    self._exchange(conversation, waiting, full)
                    # A source that takes its time is not waited for.
                    while len(waiting) > (0 if is_slow else 1):
                        self._settle(conversation, waiting, report, if_absent, wait)
            if batch.items:
                self._exchange(conversation, waiting, batch)
            while waiting:
                self._settle(conversation, waiting, report, if_absent, wait)
        if failures:
            raise failures[0]
        if report.refused and on_refused == "raise":
            raise RefusedRecordsError(refusal_text(report.refused, report.stored), report)
        return report

    def get(self, id: Any) -> D | None:  # type: ignore[override]  # the id of one's own, not an agent's
        """The document with this id, or None.

        Raises:
            InvalidRecordError: no document of this model can have that id.
            CorruptDocumentError: it cannot be read.
        """
        return (self.get_many([id]))[0]

    def get_many(self, ids: Iterable[Any]) -> list[D | None]:
        """The documents with these ids, in their order; None where there is none.

        Raises:
            CorruptDocumentError: one cannot be read.
        """
        self._check_several(ids, "get_many", "get(id) reads one")
        keys = [self._id_key(id) for id in ids]
        found: list[D | None] = []
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            commands: list[Command] = [("JSON.GET", key, *_FIELDS) for key in some]
            replies = self._checked(commands, self._store.transport.read_many(commands))
            found += [
                None if reply is None else self._read(key, reply) for key, reply in zip(some, replies, strict=True)
            ]
        return found

    def delete_one(self, id: Any) -> bool:
        """Delete the document with this id; False where there is none."""
        return self._store.delete_keys([self._id_key(id)]) == 1

    def delete_many(self, ids: Iterable[Any]) -> int:
        """Delete the documents with these ids and return how many there were. By a filter, `delete` does it."""
        self._check_several(ids, "delete_many", "delete_one(id) deletes one")
        return self._store.delete_keys([self._id_key(id) for id in ids])

    def update(
        self,
        id: Any,
        fields: Mapping[str, Any] | None = None,
        /,
        *,
        expect: D | None = None,
        ttl: timedelta | None = None,
        **changes: Any,
    ) -> D:
        """Change fields of a document, atomically: what others change meanwhile is kept.

        Args:
            id: the id, or the item itself.
            fields: new values of fields that are called as an argument is, such as ``{"ttl": 5}``.
            expect: the item as it was read; where the stored one is another version, nothing is changed.
            ttl: how long it is kept from now on; the time to live stays as it is by default, or begins again where
                the model has one.
            changes: the new values, by field or by its alias; a model with ``extra="allow"`` takes further names, too.

        Returns:
            The document as it is stored now.

        Raises:
            NotFoundError: there is no such document.
            ConflictError: it is not the version that was expected.
            InvalidRecordError: there is no such field, or a value is not valid. Nothing is changed.
        """
        if fields is not None and not isinstance(fields, Mapping):
            raise InvalidRecordError(f"update takes new values by field, such as {{'note': 'x'}}, not {shown(fields)}")
        changes = {**(fields or {}), **changes}
        if expect is not None and not isinstance(expect, self.document):
            raise InvalidRecordError(f"expect is the {self.document.__name__} as it was read, not {shown(expect)}")
        self._prepare()
        key = self._id_key(id)
        name = key.decode("utf-8", "backslashreplace")
        wait = check_ttl(ttl, "update") or self._ttl_ms
        sent: set[tuple[int, str]] = set()
        for _ in range(_ATTEMPTS):
            reply = self._store.transport.execute("JSON.GET", key, *_FIELDS)
            if reply is None:
                if expect is not None:
                    raise ConflictError(f"{name} was deleted", name)
                raise NotFoundError(f"there is no {self.document.__name__} {shown(getattr(id, 'pk', id))}")
            current = self._read(key, reply)
            updated = current._columns["updated_at"].type.store(current.updated_at)
            if (updated, current.__dict__["record_json"]) in sent:
                return current  # the reply to our own change was lost
            if expect is not None and (expect.pk, expect.updated_at) != (current.pk, current.updated_at):
                raise ConflictError(
                    f"{name} was changed at {current.updated_at}, after the version of {expect.updated_at} that was "
                    "expected: read it again",
                    name,
                )
            item: D
            item = self._codec.change(current.__dict__["record_json"], changes)
            item.__dict__["pk"] = current.pk
            document = self._codec.encode(item)
            item.__dict__["record_json"] = document.text
            now = max(self._store.clock.now(), updated + 1)
            sent.add((now, document.text))
            if self._store.transport.execute("EVAL", _SWAP, 1, key, reply, document.patch(now), wait):
                self._stamp(item, current._columns["stored_at"].type.store(current.stored_at), now)
                return item
        raise ConflictError(f"{name} was changed by others {_ATTEMPTS} times while it was updated", name)

    def expire(self, id: Any, ttl: timedelta | None) -> bool:
        """Set how long a document is kept from now on, None for ever; False where there is none."""
        key, wait = self._id_key(id), check_ttl(ttl, "expire")
        if wait:
            return bool(self._store.transport.execute("PEXPIRE", key, wait))
        replies = self._send([("PERSIST", key), ("EXISTS", key)])
        return bool(replies[1])

    @overload
    def linked(self, item: D, link: Any) -> Any: ...
    @overload
    def linked(self, item: D, link: Any, to: type[L]) -> L | None: ...
    def linked(self, item: D, link: Any, to: type[Document] | None = None) -> Any:
        """The document that an item's link leads to, or None.

        Args:
            item: the item.
            link: the column, declared as ``column(links=…)``.
            to: the class of that document, for type checkers.

        Raises:
            QueryError: the column is no link, or leads to another class than `to`.

        Example:
            ```python
            run = feedback.linked(item, Feedback.run_id, Run)
            ```
        """
        target = self._link(link)
        if to is not None and not (issubclass(to, target) or issubclass(target, to)):
            raise QueryError(f"{link!r} leads to {target.__name__}, not to {to.__name__}")
        value = getattr(item, link.name)
        if value is None:
            return None
        collection = self._follow(target)
        if issubclass(target, Run):
            page: Any = collection.find(Run.run_id == value, limit=1)
            found = page[0] if page else None
        elif isinstance(collection, ModelCollection):
            found = collection.get(value)
        else:
            found = collection.get(str(value))
        if to is not None and not isinstance(found, to | None):
            raise QueryError(f"this store has {type(found).__name__}, not {to.__name__}: open it with that class")
        return found

    @overload
    def values(self, column: Column[T], filter: Filter = None) -> list[T]: ...
    @overload
    def values(self, column: str, filter: Filter = None) -> list[Any]: ...
    def values(self, column: Column[Any] | str, filter: Filter = None) -> list[Any]:
        """The values that a column has in the documents that meet a filter, each once, for ``in_`` of another model.

        Args:
            column: the column.
            filter: which documents; all by default.

        Example:
            ```python
            disliked = feedback.values(Feedback.run_id, Feedback.rating <= 2)
            runs = backend.runs.find(Run.run_id.in_(disliked))
            ```
        """
        name = column if isinstance(column, str) else column.name
        rows = self.aggregate(by=name, metrics="count", filter=filter)
        known = find_column(self._columns, name)
        assert known is not None  # else it could not be aggregated
        return [row[known.name] for row in rows if row[known.name] is not None]

    def _link(self, link: Any) -> type[Document]:
        target = getattr(link, "links", None)
        if target is None or link.name not in self._columns:
            links = [repr(made) for made in self._columns.values() if made.links is not None]
            raise QueryError(
                f"{shown(link)} is no link of {self.document.__name__}: "
                + (f"pass {' or '.join(links)}" if links else "declare one as column(links=Run)")
            )
        return cast("type[Document]", target)

    def _prepare(self) -> None:
        """Make sure of the index before anything is stored.

        Raises:
            IndexOutdatedError: it has columns that this class does not know.
        """
        self._store.prepare(self.document._kind)
        self._store.indexes.check_writable(self.document._kind)

    def _exchange(self, conversation: Pipeline, waiting: deque[_Batch], batch: _Batch) -> None:
        """Send a batch."""
        batch.check = ClockCheck(self._store.clock, self._alias, batch.items[0].now)
        conversation.send([*batch.check.commands, *batch.commands])
        waiting.append(batch)

    def _settle(
        self,
        conversation: Pipeline,
        waiting: deque[_Batch],
        report: StoreReport,
        if_absent: bool,
        wait: int,
    ) -> None:
        """Read the replies to the oldest batch; documents that were there already are sent again as replacements."""
        batch = waiting.popleft()
        replies: list[Any] = conversation.receive()
        assert batch.check is not None  # it was sent
        batch.check.receive(replies)
        again, created = _Batch(replaces=True), []
        for saving, reply in zip(batch.items, replies[len(batch.check.commands) :], strict=True):
            result = _result(reply)
            if isinstance(result, Exception):
                self._refuse(saving.number, saving.item, result, report)
            elif batch.replaces:
                report.replaced += 1
                self._stamp(saving.item, _stored_at(reply, saving.now), saving.now)
            elif result is not None:
                report.created += 1
                self._stamp(saving.item, saving.now, saving.now)
                created.append(saving)
            elif not if_absent:
                saving.now = self._store.clock.now()
                again.items.append(saving)
                again.commands.append(self._replacement(saving, wait))
        if created and self._store.clock.corrections != batch.corrections:
            self._stamp_again(created)
        if again.items:
            self._exchange(conversation, waiting, again)

    def _creation(self, saving: _Saving, if_absent: bool, wait: int) -> Command:
        """The command that stores a document that is new; its reply is None where there is one already."""
        key, document = saving.key, saving.document.creation(saving.now)
        if not wait:
            return ("JSON.SET", key, "$", document, "NX")
        if if_absent:
            return ("EVAL", _CREATE, 1, key, document, wait)
        return Transaction(("JSON.SET", key, "$", document, "NX"), ("PEXPIRE", key, wait))

    def _replacement(self, saving: _Saving, wait: int) -> Transaction:
        """What replaces a document, keeps when it was first stored, and says when that was."""
        key = saving.key
        return Transaction(
            ("JSON.MERGE", key, "$", saving.document.patch(saving.now)),
            ("JSON.SET", key, "$.stored_at", str(saving.now), "NX"),
            *([("PEXPIRE", key, wait)] if wait else []),
            ("JSON.GET", key, "$.stored_at"),
        )

    def _stamp_again(self, saved: list[_Saving]) -> None:
        """Stamp documents again that were just saved by a clock that was wrong."""
        names = ("stored_at", "updated_at", stamp_name(self.document))
        for saving, now in zip(saved, self._store.stamp_again([(one.key, names) for one in saved]), strict=True):
            self._stamp(saving.item, now, now)

    def _refuse(self, number: int, item: D, reply: Exception, report: StoreReport) -> None:
        error = translate(reply, self._store.transport.target, ("JSON.SET",))
        if isinstance(error, PermissionDeniedError | MissingModuleError):
            raise error from None
        report.refused.append(_refused(number, item, error))

    def _wait(self, ttl: timedelta | None) -> int:
        """A time to live in milliseconds, 0 for none."""
        return check_ttl(ttl, self.document.__name__) or self._ttl_ms

    def _stamp(self, item: D, stored_us: int, updated_us: int) -> None:
        """Note on an item when it was stored."""
        load: Any = self._columns["stored_at"].type.load
        item.__dict__["stored_at"], item.__dict__["updated_at"] = load(stored_us), load(updated_us)

    def _item_key(self, item: D) -> bytes:
        if type(item) is not self.document:
            raise InvalidRecordError(f"this collection holds {self.document.__name__}, not {type(item).__name__}")
        if self._key_fields:
            item.__dict__["pk"] = key_text([item.__dict__[name] for name in self._key_fields])
        return self._store.keys.item(self.document._kind, item.pk)

    def _check_several(self, values: Any, method: str, instead: str) -> None:
        """Refuse one item or id where several are expected; one can often be iterated over, too."""
        if isinstance(values, str | bytes | BaseModel) or not isinstance(values, Iterable | Iterable):
            raise InvalidRecordError(f"{method} takes several, not {shown(values)}: {instead}")

    def _id_key(self, id: Any) -> bytes:
        if isinstance(id, self.document):
            id = id.pk
        elif isinstance(id, tuple | list) and len(id) != max(1, len(self._key_fields)):
            parts = ", ".join(self._key_fields)
            expected = f"({parts}), in this order" if len(self._key_fields) > 1 else parts or "its pk"
            raise InvalidRecordError(f"the id of a {self.document.__name__} is {expected}, not {shown(id)}")
        return self._store.keys.item(self.document._kind, id if isinstance(id, str) else key_text(id))

    def _read(self, key: bytes, reply: bytes) -> D:
        try:
            found = from_json(reply)
            values: list[Any] = [found[name][0] if found[name] else None for name in _FIELDS]
            pk, text, stored, updated = values
            return cast(D, self._codec.decode(unescape_tag(pk), text, stored, updated))
        except (ValueError, TypeError, AttributeError) as error:
            raise CorruptDocumentError(key.decode("utf-8", "backslashreplace"), str(error)) from None

    def _replies(self, commands: list[Command]) -> list[Any]:
        return self._store.transport.pipeline(commands) if commands else []

    def _send(self, commands: list[Command]) -> list[Any]:
        """The replies to commands; the first error is raised."""
        return self._checked(commands, self._replies(commands))

    def _checked(self, commands: list[Command], replies: list[Any]) -> list[Any]:
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception):
                raise translate(reply, self._store.transport.target, command) from None
        return replies


def _result(reply: Any) -> Any:
    """The reply to the first command of a `Transaction`, or its first error; any other reply as it is."""
    if not isinstance(reply, list):
        return reply
    return next((one for one in reply if isinstance(one, Exception)), reply[0])


def _stored_at(reply: list[Any], now: int) -> int:
    """When a document was first stored, from the reply to its replacement."""
    return from_json(reply[-1])[0] if reply[-1] is not None else now


def _refused(number: int, item: Any, error: RelayModelsError) -> RefusedRecord:
    pk = getattr(item, "pk", None)
    return RefusedRecord(number, None, None if pk is None else str(pk), error)
