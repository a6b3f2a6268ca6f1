# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/migrations.py by scripts/generate_sync.py: change that, not this.
"""`Migrations`: a store's columns changed to those of this program, while others read and write it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from relay_models._checks import check_list, shown
from relay_models.backend._sync.index import Indexes
from relay_models.backend.migration import MigrationPlan, MigrationResult, ReportProgress
from relay_models.columns.info import column_name
from relay_models.documents import layout_of
from relay_models.errors import InvalidConfigurationError, NotFoundError
from relay_models.query.replies import IndexInfo

__all__ = ["Migrations"]

# Estimates, measured with runs of five calls: computing the columns of a document, and its part of an index.
_SECONDS_PER_DOCUMENT, _BYTES_PER_DOCUMENT = 0.0002, 1500


class Migrations:
    """Plans, makes, undoes and finishes migrations, reached as ``backend.migrations``.

    A migration makes a second index beside the one in use, computes the columns that documents lack, and lets queries
    use it when it is complete. Until `finish`, the old index is kept up to date, and `rollback` goes back to it.
    Readers and writers of the old layout work all the while. What they store lacks columns: `apply` and `finish`
    compute them, so `finish` when the last of these writers has stopped.

    Each method may be called again after it was interrupted, by any process, and goes on where it was.

    Example:
        ```python
        with RedisBackend.connect(url, migrate=False) as backend:
            for plan in backend.migrations.plan():
                print(plan.kind, plan.state, plan.added, plan.stale)
            backend.migrations.apply()
            …
            backend.migrations.finish()
        ```
    """

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self._builder = indexes.builder

    def plan(self, *, remove: Collection[str] = ()) -> list[MigrationPlan]:
        """What `apply` would do, for each document type; nothing is changed.

        Own models that the store has and this program has no class of are among the plans, as ``unknown``.

        Args:
            remove: as for `apply`.

        Raises:
            IndexOutdatedError: a newer release made an index.
            InvalidConfigurationError: a column to remove is one that this program declares.
            NotFoundError: the store has no such column to remove.
        """
        found = self._indexes.infos()
        self._check_removed(found, remove)
        plans = [self._plan(kind, info, remove) for kind, info in found.items()]
        for kind in sorted(self._builder.model_kinds() - found.keys()):
            info = self._builder.info(self._builder.alias(kind))
            if info is not None:
                name = self._builder.own_name(kind, info)
                plans.append(MigrationPlan(kind, "unknown", name, name, documents=info.documents))
        return plans

    def apply(
        self, report: ReportProgress | None = None, *, remove: Collection[str] = ()
    ) -> list[MigrationResult]:
        """Make what `plan` shows, and compute the columns of documents that lack some. Keeps the old indexes.

        Args:
            report: called with a `MigrationProgress` as it proceeds.
            remove: names of columns that no class declares any more; the new index is made without them. Stop the
                programs that still declare them first, as opening the store adds them again. What documents have of
                them stays until they are stored again.

        Returns:
            What was done, for each document type.

        Raises:
            IndexOutdatedError: a newer release made an index, or the store has columns that this program does not
                know and it was not opened with ``allow_missing=True``.
            InvalidConfigurationError: a column to remove is one that this program declares.
            NotFoundError: the store has no such column to remove; it may have been removed already.
            StoreTimeoutError: an index is not filled within `index_timeout`; call it again later.
            PermissionDeniedError: the user may not create an index, or run ``EVAL`` where documents lack columns.
        """
        results = []
        found = self._indexes.infos()
        self._check_removed(found, remove)
        for kind, info in found.items():
            if self._indexes.needs_migration(kind, info, remove):
                results.append(self._indexes.migrate(kind, info, finish=False, report=report, remove=remove))
            else:
                assert info is not None
                results.append(self._catch_up(kind, info, report))
        self._indexes.recheck()
        return results

    def rollback(self) -> list[str]:
        """Go back to the indexes that `apply` replaced, and drop those that it made.

        Returns:
            The document types of which an index was replaced.

        Raises:
            NotFoundError: there is nothing to undo: no migration was begun, or it was finished.
            InvalidConfigurationError: the store compresses its records since the migration.
        """
        kinds = []
        for kind, info in (self._indexes.infos()).items():
            noted = self._builder.noted(kind)
            if noted is None:
                continue
            old, new = noted
            if old is not None and self._builder.info(old) is not None:
                if _is_marked(new) and not _is_marked(old):
                    raise InvalidConfigurationError(
                        "the store compresses its records since this migration, which programs that use the index "
                        f"{old!r} cannot read: run `relay-models compress undo` first"
                    )
                if info is None or self._builder.own_name(kind, info) != old:
                    self._builder.switch(kind, old)
                self._builder.drop(new)
                kinds.append(kind)
            self._builder.forget(kind)
        self._indexes.recheck()
        if not kinds:
            raise NotFoundError("there is nothing to undo: no migration was begun, or it is finished")
        return kinds

    def finish(self, report: ReportProgress | None = None) -> list[MigrationResult]:
        """Compute what is left to compute, and drop the old indexes. Documents are never dropped.

        Args:
            report: called with a `MigrationProgress` as it proceeds.

        Returns:
            What was done, for each document type that had an unfinished migration.

        Raises:
            NotFoundError: a migration was begun and its index is not in use yet: `apply` goes on with it.
        """
        results = []
        for kind, info in (self._indexes.infos()).items():
            noted = self._builder.noted(kind)
            if noted is None:
                continue
            old, new = noted
            if info is None or self._builder.own_name(kind, info) != new:
                raise NotFoundError(
                    f"the index {new!r} is not in use yet: apply the migration first, with the models that it is for, "
                    "or undo it by a rollback"
                )
            results.append(self._catch_up(kind, info, report))
            if old is not None:
                self._builder.drop(old)
            self._builder.forget(kind)
        return results

    def _catch_up(self, kind: str, info: IndexInfo, report: ReportProgress | None) -> MigrationResult:
        """Compute the columns that writers of another layout left out."""
        name = self._builder.own_name(kind, info)
        self._builder.filled(kind, name, info, report)
        if self._indexes.unknown.get(kind):
            # Another program's layout: its own writers know what is stale.
            return MigrationResult(kind, False, 0)
        done, unreadable = self._builder.backfill(kind, name, text=self._indexes.text, report=report)
        keys = tuple(sorted(key.decode("utf-8", "backslashreplace") for key in unreadable))
        return MigrationResult(kind, False, done, keys)

    def _check_removed(self, found: Mapping[str, IndexInfo | None], remove: Collection[str]) -> None:
        check_list("remove", remove, str, "names of columns")
        changes = [self._indexes.change(kind, info, remove) for kind, info in found.items()]
        removed = {column_name(name) for change in changes for name in change.removed}
        for name in remove:
            if name in removed:
                continue
            of = next((each for each in self._builder.documents.values() if name in each.columns()), None)
            if of is not None:
                raise InvalidConfigurationError(
                    f"{of.__name__} declares the column {name!r}: take it out of the class before it is removed"
                )
            kept = sorted({column_name(each) for change in changes for each in change.unknown})
            known = f"those are {', '.join(kept)}" if kept else "there are none"
            raise NotFoundError(
                f"the store has no column {shown(name)} that this program does not declare; {known}. Where it has been "
                "removed already, go on without naming it"
            )

    def _plan(self, kind: str, info: IndexInfo | None, remove: Collection[str]) -> MigrationPlan:
        needed = self._indexes.needs_migration(kind, info, remove)
        change = self._indexes.change(kind, info, remove)
        name = None if info is None else self._builder.own_name(kind, info)
        documents = 0 if info is None else info.documents
        if needed:
            return MigrationPlan(
                kind,
                "needed",
                name,
                self._indexes.target(kind, info, remove),
                tuple(map(column_name, change.added)),
                tuple(map(column_name, dict.fromkeys((*change.retyped, *change.widened)))),
                tuple(map(column_name, change.removed)),
                tuple(map(column_name, change.unknown)),
                documents,
                documents,
                documents * _SECONDS_PER_DOCUMENT,
                max(0 if info is None else info.bytes, documents * _BYTES_PER_DOCUMENT),
            )
        assert name is not None
        noted = self._builder.noted(kind)
        stale = self._builder.stale(name)
        return MigrationPlan(
            kind,
            "current" if noted is None else "unfinished",
            name,
            name if noted is None else noted[1],
            kept=tuple(map(column_name, change.unknown)),
            documents=documents,
            stale=stale,
            seconds=stale * _SECONDS_PER_DOCUMENT,
        )


def _is_marked(index_name: str) -> bool:
    """Whether an index says that records may be compressed."""
    layout = layout_of(index_name)
    return layout is not None and layout.compressed
