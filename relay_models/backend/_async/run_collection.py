"""`RunCollection`: the runs of a store, and the labels that are put on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, Unpack
from uuid import UUID, uuid4

from pydantic_core import from_json, to_json

from relay_models._checks import shown
from relay_models.backend._async.collection import Collection, explicit_filter
from relay_models.columns.expressions import Equal, Expression, any_of
from relay_models.documents import Run
from relay_models.documents.labels import LabelChange, Labels
from relay_models.errors import CorruptDocumentError, InvalidRecordError, NotFoundError, QueryError, StoreTimeoutError
from relay_models.query.options import Filter, check_outcomes
from relay_models.query.order import Order
from relay_models.query.rows import KeyReader
from relay_models.records import RunRecord
from relay_models.transport import translate

__all__ = ["LabelOptions", "RunCollection", "RunReference"]

RunReference: TypeAlias = Run | RunRecord | UUID | str | tuple[str, UUID | str]
"""A run: the `Run`, its record, its id, or its agent and its id."""

RunT = TypeVar("RunT", bound=Run)

# Runs that are labelled by one pipeline, ids that one query looks up, and keys of one page.
_AT_ONCE, _KEYS_PER_PAGE = 200, 10_000
# Times that a run is read again because another client labelled it at the same time.
_ATTEMPTS = 100

# Sets the members that labels are, if they were not changed since they were read.
_REPLACE = """
local found = redis.call('JSON.GET', KEYS[1], '$.labels')
if not found then return -1 end
if found ~= ARGV[1] then return 0 end
redis.call('JSON.MERGE', KEYS[1], '$', ARGV[2])
return 1
"""


class LabelOptions(TypedDict, total=False):
    """What `RunCollection.label` and its like say of a run.

    Attributes:
        tags: tags to add.
        remove_tags: tags to take away.
        scores: scores to set, by name; kept to 15 significant digits.
        remove_scores: names of scores to take away.
        note: a note to add.
        source: what says so: ``human`` (the default), ``evaluator``, or a word of your own.
        by: name of the person or the evaluator.
    """

    tags: Iterable[str]
    remove_tags: Iterable[str]
    scores: Mapping[str, float]
    remove_scores: Iterable[str]
    note: str | None
    source: str
    by: str | None


class RunCollection(Collection[RunT]):
    """The runs of a store, reached as ``backend.runs``: the questions of every `Collection`, and labels."""

    _delete_one = "backend.delete_run(agent_id, run_id) deletes one run"

    async def label(self, run: RunReference, **labels: Unpack[LabelOptions]) -> Labels:
        """Put tags, scores or a note on a run, or take tags and scores away.

        Labels stay when the run is stored again, by whatever process, and go when it is deleted. Several clients may
        label one run at the same time: no change is lost. The user needs the right to run ``EVAL``.

        Args:
            run: the run, its record, its id, or its agent and id.
            labels: see `LabelOptions`: `tags`, `remove_tags`, `scores`, `remove_scores`, `note`, `source`, `by`.

        Returns:
            All labels of the run.

        Raises:
            NotFoundError: there is no such run.
            QueryError: several agents have a run with this id: give the agent, too.
            InvalidRecordError: a label cannot be kept exactly, none is given, or what should be a run is none.
            CorruptDocumentError: the labels that the run has cannot be read.

        Example:
            ```python
            await backend.runs.label(run_id, tags={"golden"}, note="what a good answer looks like", by="ana")
            await backend.runs.label(run_id, scores={"helpfulness": 0.8}, source="evaluator", by="judge-2")
            ```
        """
        if not isinstance(run, Run | RunRecord | UUID | str | tuple):
            raise InvalidRecordError(
                f"label takes a run, not {type(run).__name__}: label_many(runs, …) labels several, "
                "label_where(filter, …) those that meet a filter",
                "run",
            )
        change = self._change(labels)
        (key,) = await self._keys_of([run])
        found = await self._label_keys([key], change)
        if key not in found:
            raise NotFoundError(f"there is no run {_shown(run)}: it was deleted or never stored")
        return found[key]

    async def label_many(
        self,
        runs: Iterable[RunReference],
        *,
        on_missing: Literal["raise", "skip"] = "raise",
        **labels: Unpack[LabelOptions],
    ) -> int:
        """Put the same labels on many runs, as `label` does on one.

        Args:
            runs: the runs, each as `label` takes it.
            on_missing: ``"skip"`` ignores runs that are not stored.
            labels: as `label` takes them.

        Returns:
            How many runs were labelled.

        Raises:
            NotFoundError: some runs are not stored; all others were labelled.
            QueryError: as `label` raises it; nothing was labelled.
            InvalidRecordError: as `label` raises it; nothing was labelled.
        """
        check_outcomes(on_missing=on_missing)
        if isinstance(runs, Run | RunRecord | UUID | str) or not isinstance(runs, Iterable):
            raise InvalidRecordError(
                f"label_many takes several runs, not {type(runs).__name__}: label(run, …) labels one, "
                "label_where(filter, …) those that meet a filter",
                "runs",
            )
        change = self._change(labels)
        wanted = list(runs)
        keys = await self._keys_of(wanted, on_missing)
        found = await self._label_keys(list(dict.fromkeys(key for key in keys if key)), change)
        if on_missing == "raise":
            missing = [_shown(run) for run, key in zip(wanted, keys, strict=True) if key not in found]
            if missing:
                raise NotFoundError(f"{len(found)} runs were labelled; not stored: {', '.join(missing[:10])}")
        return len(found)

    async def label_where(self, filter: Filter, **labels: Unpack[LabelOptions]) -> int:
        """Put the same labels on all runs that meet a filter, as `label` does on one.

        Args:
            filter: which runs. All of them have to be spelled out: ``"all"``.
            labels: as `label` takes them.

        Returns:
            How many runs were labelled; those that were deleted meanwhile do not count.

        Raises:
            QueryError: the filter is None or empty, or a query with a limit.
            InvalidRecordError: as `label` raises it; nothing was labelled.
        """
        change = self._change(labels)
        count = 0
        expression = explicit_filter(filter, self._columns, "label(run, …) labels one run")
        for keys in _parts(await self._matching_keys(expression), _AT_ONCE):
            count += len(await self._label_keys(keys, change))
        return count

    def _change(self, labels: Mapping[str, Any]) -> LabelChange:
        if unknown := labels.keys() - LabelOptions.__annotations__.keys():
            known = ", ".join(LabelOptions.__annotations__)
            raise InvalidRecordError(f"labels have no {', '.join(sorted(unknown))}; there are {known}", "labels")
        given = {"source": "human", "by": None, **labels}
        try:
            return LabelChange.checked(at=self._store.clock.now(), note_id=uuid4().hex, **given)
        except TypeError as error:
            raise InvalidRecordError(str(error), "labels") from None

    async def _keys_of(
        self, runs: Sequence[RunReference], on_missing: Literal["raise", "skip"] = "raise"
    ) -> list[bytes]:
        """The keys of runs; an empty key for an id that no run has."""
        keys: list[bytes] = []
        ids: dict[str, list[int]] = {}
        for number, run in enumerate(runs):
            match run:
                case Run():
                    keys.append(self._store.keys.run(run.agent_id, run.run_id))
                case RunRecord():
                    keys.append(self._store.keys.run(run.agent_id, run.id))
                case (agent_id, run_id):
                    keys.append(self._store.keys.run(agent_id, run_id))
                case _:
                    _, run_id = self._store.keys.split_run(self._store.keys.run("", run))
                    ids.setdefault(run_id, []).append(number)
                    keys.append(b"")
        column = self._columns["run_id"]
        for part in _parts(list(ids), _AT_ONCE):
            for key in await self._matching_keys(any_of([Equal(column, run_id) for run_id in part])):
                _, run_id = self._store.keys.split_run(key)
                for number in ids[run_id]:
                    if keys[number]:
                        raise QueryError(f"several agents have a run {run_id}: give the agent too, (agent_id, run_id)")
                    keys[number] = key
        if on_missing == "raise" and len(runs) == 1 and not keys[0]:
            raise NotFoundError(f"there is no run {_shown(runs[0])}: it was deleted or never stored")
        return keys

    async def _matching_keys(self, filter: Expression) -> list[bytes]:
        order = Order(self._columns["stored_at"], omits_missing=True)
        pages = await self.read(filter, order, KeyReader(), _KEYS_PER_PAGE)
        keys: list[bytes] = []
        try:
            while (page := await pages.page()) is not None:
                keys += page
        finally:
            await pages.close()
        return list(dict.fromkeys(keys))

    async def _label_keys(self, keys: Sequence[bytes], change: LabelChange) -> dict[bytes, Labels]:
        """Label documents; the labels that each now has, without the documents that do not exist."""
        done: dict[bytes, Labels] = {}
        for part in _parts(keys, _AT_ONCE):
            waiting = list(part)
            for _ in range(_ATTEMPTS):
                waiting = await self._replace_labels(waiting, change, done)
                if not waiting:
                    break
            if waiting:
                raise StoreTimeoutError(
                    f"{_key_text(waiting[0])}: others change its labels faster than they can be read; try again"
                )
        return done

    async def _replace_labels(
        self, keys: Sequence[bytes], change: LabelChange, done: dict[bytes, Labels]
    ) -> list[bytes]:
        """Read, change and write labels once; the keys whose labels another client changed in between."""
        transport = self._store.transport
        replies = await transport.pipeline([("JSON.GET", key, "$.labels") for key in keys])
        changed: dict[bytes, Labels] = {}
        commands = []
        for key, reply in zip(keys, replies, strict=True):
            if isinstance(reply, Exception):
                raise translate(reply, transport.target, ("JSON.GET",)) from None
            if reply is None:
                continue
            try:
                found = from_json(reply)
                before = Labels.parse(found[0] if found else None)
                changed[key] = before.changed(change)
            except ValueError as error:
                raise CorruptDocumentError(_key_text(key), str(error)) from None
            commands.append(("EVAL", _REPLACE, 1, key, reply, to_json(changed[key].members(before))))
        if not commands:
            return []
        again = []
        for key, reply in zip(changed, await transport.pipeline(commands), strict=True):
            if isinstance(reply, Exception):
                raise translate(reply, transport.target, ("EVAL",)) from None
            if reply == 1:
                done[key] = changed[key]
            elif reply == 0:
                again.append(key)
        return again


def _parts(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _key_text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _shown(run: RunReference) -> str:
    match run:
        case Run():
            return f"{run.run_id} of agent {shown(run.agent_id)}"
        case RunRecord():
            return f"{run.id} of agent {shown(run.agent_id)}"
        case tuple():
            return f"{run[1]} of agent {shown(run[0])}"
    return str(run)
