"""`KINDS`: the table of document types. What differs between them is said here and on their classes, nowhere else."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from relay_models._checks import shown
from relay_models.documents.artifacts import Accumulators, Observations, Plan, Stability, Trie
from relay_models.documents.base import Document
from relay_models.documents.run import Run
from relay_models.errors import InvalidRecordError, NotFoundError
from relay_models.records import from_json

__all__ = [
    "ARTIFACT_KINDS",
    "DOCUMENTS",
    "KINDS",
    "DocumentKind",
    "decode_artifact",
    "find_kind",
    "first_paragraph",
    "kinds_with",
]


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """A document type and how it is named everywhere.

    Args:
        document: the document class; its `kind` is the name, its `record_type` the type of the record.
        plural: what several are called.
        native_segment: the part of NeMo Relay's own keys that names it.
        many: an agent has many of them, not one.
    """

    document: type[Document]
    plural: str
    native_segment: str
    many: bool = False

    @property
    def name(self) -> str:
        """``run``, ``plan`` …, as in keys."""
        return self.document._kind

    @property
    def segment(self) -> str:
        """The part of our keys that names it."""
        return f"@{self.name}:"

    @property
    def is_list(self) -> bool:
        """The record is a list."""
        return get_origin(self.document.record_type) is list

    @property
    def record(self) -> type[BaseModel]:
        """The type of the record, or of its elements where the record is a list."""
        found: type[BaseModel] = get_args(self.shape)[0] if self.is_list else self.shape
        return found

    @property
    def shape(self) -> Any:
        """The type of the record: a model, or a list of one."""
        return self.document if self.document.is_own_model() else self.document.record_type

    @property
    def shape_text(self) -> str:
        """`shape` as one would write it."""
        return f"list[{self.record.__name__}]" if self.is_list else self.record.__name__

    @property
    def title(self) -> str:
        """The document's name, which is the heading of its page."""
        return self.document.__name__

    @property
    def summary(self) -> str:
        """What the record is, in a sentence: the first paragraph of its class's docstring."""
        return first_paragraph(self.record)

    @property
    def key(self) -> str:
        """The key of one document, with the parts that vary in braces."""
        if self.document.is_own_model():
            return f"{{prefix}}{self.segment}{{pk}}"
        return f"{{prefix}}{self.segment}{{agent_id}}{':{run_id}' if self.many else ''}"

    @property
    def native_key(self) -> str:
        """The key under which NeMo Relay itself keeps it, with the parts that vary in braces."""
        return f"{{prefix}}{self.native_segment}:{{agent_id}}{':{run_id}' if self.many else ''}"

    def is_record(self, value: Any) -> bool:
        """Whether a value is such a record."""
        if not self.is_list:
            return isinstance(value, self.record)
        return isinstance(value, list) and all(isinstance(item, self.record) for item in value)

    def decode(self, text: str | bytes) -> Any:
        """The record in its JSON text.

        Raises:
            InvalidRecordError: the text is not such a record.
        """
        return from_json(self.shape, text)


KINDS: Mapping[str, DocumentKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            DocumentKind(Run, "runs", "runs", many=True),
            DocumentKind(Plan, "plans", "plan"),
            DocumentKind(Trie, "tries", "trie"),
            DocumentKind(Accumulators, "accumulators", "accumulators"),
            DocumentKind(Observations, "observations", "acg_observations"),
            DocumentKind(Stability, "stability", "acg_stability"),
        )
    }
)
"""Every document type by its name."""

ARTIFACT_KINDS = tuple(name for name, kind in KINDS.items() if not kind.many)
"""Names of the document types of which an agent has one."""

DOCUMENTS: Mapping[str, type[Document]] = MappingProxyType({name: kind.document for name, kind in KINDS.items()})
"""The document classes by name."""


def first_paragraph(model: type) -> str:
    """What a class is: the first paragraph of its docstring, or of that of a base, but not of what all models share."""
    for base in model.__mro__:
        if base in (Document, BaseModel):
            break
        if text := vars(base).get("__doc__"):
            return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    return ""


def kinds_with(models: Iterable[type[Document]]) -> dict[str, DocumentKind]:
    """Every document type by its name, with a user's models; a subclass of `Run` is there in its stead."""
    kinds = dict(KINDS)
    for model in models:
        if model.is_own_model():
            name = model._kind.rpartition(":")[2]
            kinds[name] = DocumentKind(model, name, "", many=True)
        elif model._kind in kinds:
            kinds[model._kind] = replace(kinds[model._kind], document=model)
    return kinds


def find_kind(name: str, kinds: Mapping[str, DocumentKind] = KINDS) -> DocumentKind:
    """The document type of that name, in any case; its plural and the names of its classes are understood too.

    Raises:
        NotFoundError: there is none; the message lists those there are.
    """
    wanted = name.strip().lower()
    for key, kind in kinds.items():
        if wanted in (key, kind.name, kind.plural, kind.record.__name__.lower(), kind.document.__name__.lower()):
            return kind
    raise NotFoundError(f"there is no document type {shown(name)}; there are {', '.join(kinds)}")


def decode_artifact(kind: str, text: str | bytes) -> Any:
    """The record in its stored JSON text; `InvalidRecordError` (a ValueError) where it is none."""
    return KINDS[kind].decode(text)


def checked_record(kind: str, record: Any) -> None:
    """Refuse what is not a record of the kind.

    Raises:
        InvalidRecordError: it is not.
    """
    known = KINDS[kind]
    if not known.is_record(record):
        wanted = f"list of {known.record.__name__}" if known.is_list else known.record.__name__
        raise InvalidRecordError(f"{kind}: the record is a {wanted}, not a {type(record).__name__}")
