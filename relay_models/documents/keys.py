"""`Keys`: key and index names of a store, made from its prefix and parsed again."""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import UUID

from relay_models._checks import shown
from relay_models.columns.tags import escape_tag, unescape_tag
from relay_models.documents.kinds import KINDS
from relay_models.documents.own_models import MODEL_SEGMENT
from relay_models.errors import InvalidConfigurationError, InvalidRecordError

__all__ = ["LAYOUT_VERSION", "Keys", "Layout", "layout_of"]

LAYOUT_VERSION = 3
"""Raised whenever the columns of an index change; a store made by an older release gets a new index."""

COLUMNS_VERSION = 2
"""Raised with it, to the same number, where documents lack values of the new index: they are computed again."""

_MARKERS = (*(kind.segment for kind in KINDS.values()), f"@{MODEL_SEGMENT}")
_RUN_ID_LENGTH = 36
_INDEX = re.compile(r":idx:v([0-9]{1,6})(t?)(z?)(?:\.([0-9a-f]{12}))?\Z")


class Layout(NamedTuple):
    """What an index holds; a greater one replaces a lesser one.

    `own` identifies the columns that a user declared, as `own_layout` does. `compressed` says that records may be
    compressed: releases that cannot read such records do not know the index by its name, and refuse the store.
    """

    version: int
    text: bool
    own: str = ""
    compressed: bool = False


def layout_of(index_name: str | bytes) -> Layout | None:
    """The layout that an index says by its name; None where it is not one of ours."""
    name = index_name.decode("utf-8", "replace") if isinstance(index_name, bytes) else index_name
    match = _INDEX.search(name)
    return Layout(int(match[1]), bool(match[2]), match[4] or "", bool(match[3])) if match else None


class Keys:
    """The names that a store with this prefix uses.

    An agent id stands in a key as it is, but for NUL (``␀0``) and ``␀`` (``␀␀``), so that keys sort the same way
    everywhere. The run id is always the last 36 characters.

    Args:
        prefix: any text, also an empty one.

    Raises:
        InvalidConfigurationError: the prefix holds NUL or a lone surrogate, or a part such as ``@run:`` that would
            put this store's documents into another store's index.
    """

    __slots__ = ("_roots", "prefix")

    def __init__(self, prefix: str) -> None:
        if not isinstance(prefix, str):
            raise InvalidConfigurationError(f"a key prefix is text, not {type(prefix).__name__}")
        try:
            encoded = prefix.encode()
        except UnicodeEncodeError:
            raise InvalidConfigurationError(
                f"the key prefix {shown(prefix)} has a lone surrogate and is no text"
            ) from None
        if b"\0" in encoded:
            raise InvalidConfigurationError(
                f"the key prefix {shown(prefix)} holds a NUL character, where an index stops reading"
            )
        for marker in _MARKERS:
            if marker in prefix:
                raise InvalidConfigurationError(
                    f"the key prefix {shown(prefix)} holds {marker!r}: its keys would be part of the store with the "
                    f"prefix {shown(prefix.partition(marker)[0])}; choose one without"
                )
        self.prefix = prefix
        self._roots = {name: encoded + kind.segment.encode() for name, kind in KINDS.items()}

    def run(self, agent_id: str, run_id: UUID | str) -> bytes:
        """The key of a run. A run id that is no UUID raises `InvalidRecordError`."""
        if isinstance(run_id, UUID):
            text = str(run_id)
        else:
            try:
                text = str(UUID(run_id))
            except (ValueError, AttributeError, TypeError):
                raise InvalidRecordError(f"a run id is a UUID, not {shown(run_id)}", "id") from None
        return b"%s%s:%s" % (self._roots["run"], _encode(agent_id), text.encode())

    def document(self, kind: str, agent_id: str) -> bytes:
        """The key of an agent's artifact."""
        return self._roots[kind] + _encode(agent_id)

    def item(self, kind: str, pk: str) -> bytes:
        """The key of a document of an own model, by its id."""
        return self.root(kind) + _encode(pk)

    def root(self, kind: str) -> bytes:
        """What all keys of a kind begin with."""
        found = self._roots.get(kind)
        if found is None:
            found = self._roots[kind] = f"{self.prefix}@{kind}:".encode()
        return found

    def alias(self, kind: str) -> str:
        """The name under which a kind is searched, whatever index is behind it."""
        return f"{self.prefix}@{kind}"

    def index(self, kind: str, *, text: bool = False, own: str = "", compressed: bool = False) -> str:
        """The name of the index that this release makes.

        Args:
            kind: name of the document type.
            text: with the words of prompts and answers (runs only).
            own: what identifies the columns that a user declared (`own_layout`).
            compressed: records may be compressed (runs only).
        """
        options = f"{'t' if text else ''}{'z' if compressed else ''}" if kind == "run" else ""
        name = f"{self.prefix}@{kind}:idx:v{LAYOUT_VERSION}{options}"
        return f"{name}.{own}" if own else name

    def migration(self, kind: str) -> bytes:
        """The key that says which index a migration replaces by which."""
        return f"{self.prefix}@migration:{kind}".encode()

    @property
    def compression(self) -> bytes:
        """The key that says how records are compressed, and with which dictionary."""
        return f"{self.prefix}@compression".encode()

    def dictionary(self, id: str) -> bytes:
        """The key of a dictionary that records are compressed with."""
        return f"{self.prefix}@dictionary:{id}".encode()

    def split_run(self, key: bytes) -> tuple[str, str]:
        """The agent id and the run id in a run's key; ValueError for another key."""
        rest = self._rest("run", key)
        if len(rest) <= _RUN_ID_LENGTH or rest[-_RUN_ID_LENGTH - 1] != ":":
            raise ValueError(f"{shown(key)} is not the key of a run")
        return unescape_tag(rest[: -_RUN_ID_LENGTH - 1]), rest[-_RUN_ID_LENGTH:]

    def split(self, kind: str, key: bytes) -> str:
        """The agent id in an artifact's key; ValueError for another key."""
        return unescape_tag(self._rest(kind, key))

    def _rest(self, kind: str, key: bytes) -> str:
        root = self._roots[kind]
        if not key.startswith(root):
            raise ValueError(
                f"{shown(key)} is not the key of a document of the kind {kind!r} with the prefix {shown(self.prefix)}"
            )
        return key[len(root) :].decode()

    def __repr__(self) -> str:
        return f"Keys({self.prefix!r})"


def _encode(agent_id: str) -> bytes:
    if not isinstance(agent_id, str):
        raise InvalidRecordError(f"an agent id is text, not {type(agent_id).__name__}", "agent_id")
    try:
        return escape_tag(agent_id).encode()
    except UnicodeEncodeError:
        raise InvalidRecordError(
            f"the agent id {shown(agent_id)} has a lone surrogate and cannot be stored as text", "agent_id"
        ) from None
