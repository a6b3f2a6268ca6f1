"""`Document`: redis-om's JsonModel as a schema and a way to write queries, tied to no server."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar

from pydantic import BaseModel, PrivateAttr
from redis_om import Field, JsonModel
from redis_om.model.model import model_registry

from relay_models._time import microseconds_of
from relay_models.columns.column import Column, Kind
from relay_models.documents.making import object_maker
from relay_models.errors import UnsupportedMethodError

__all__ = ["STORE_TIMES", "Document", "column", "document"]

STORE_TIMES = ("stored_at", "updated_at")
"""Columns that the store fills in, not the record."""

DocumentType = TypeVar("DocumentType", bound="type[Document]")


class _NoServer:
    """Stands where redis-om keeps its connection, so that nothing can be sent past a backend."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnsupportedMethodError(
            "a document class is tied to no server: store, load and find through a RedisBackend"
        )


def column(kind: Kind, about: str, *, unit: str = "", choices: tuple[str, ...] = (), **options: Any) -> Any:
    """A field that is a column of the index; see `Column` for what the arguments mean."""
    return Field(
        index=True,
        case_sensitive=kind in (Kind.TAG, Kind.TAGS),
        sortable=kind not in (Kind.TAGS, Kind.WORDS),
        full_text_search=kind is Kind.WORDS,
        description=about,
        json_schema_extra={
            "kind": kind.value,
            **({"unit": unit} if unit else {}),
            **({"choices": list(choices)} if choices else {}),
        },
        **options,
    )


def document(kind: str) -> Callable[[DocumentType], DocumentType]:
    """Class decorator: makes a model the document type of a kind, with our columns in place of redis-om's proxies."""

    def decorate(cls: DocumentType) -> DocumentType:
        columns: dict[str, Column[Any]] = {}
        for name, field in cls.__pydantic_fields__.items():
            extra = field.json_schema_extra
            if not isinstance(extra, dict) or "kind" not in extra:
                continue
            made: Column[Any] = Column(
                name,
                Kind(str(extra["kind"])),
                field.description or "",
                unit=str(extra.get("unit", "")),
                nullable=not field.is_required(),
                choices=tuple(map(str, extra.get("choices", ()))),  # type: ignore[arg-type]
                document=cls.__name__,
            )
            columns[name] = made
            setattr(cls, name, made)
        cls.kind = kind
        cls._columns = columns
        cls.row_columns = tuple(
            name for name, made in columns.items() if made.kind is not Kind.WORDS and name not in STORE_TIMES
        )
        # redis-om's Migrator makes an index for each class in its registry; ours are made by the backend.
        model_registry.pop(f"{cls.__module__}.{cls.__qualname__}", None)
        return cls

    return decorate


class Document(JsonModel, abc.ABC):
    """What all document types share.

    On the class, a column makes expressions (``Run.duration > timedelta(seconds=2)``); on an object it is the value.
    redis-om's own ways to read and write lose data (nanoseconds, keys, big integers) and go to one global server: they
    raise `UnsupportedMethodError`, which names the method of the backend that does it right.
    """

    class Meta:
        database = _NoServer()
        global_key_prefix = ""

    kind: ClassVar[str] = ""
    _columns: ClassVar[dict[str, Column[Any]]] = {}
    row_columns: ClassVar[tuple[str, ...]] = ()
    """Names of the columns whose values ``row`` holds as a JSON array, in this order: all that come from the record."""
    _record: Any = PrivateAttr(None)

    if not TYPE_CHECKING:
        # redis-om's would ask the server, at once, which modules it has.
        __init__ = BaseModel.__init__

    def __init_subclass__(cls, **options: Any) -> None:
        """Take redis-om's check of its own schema away: our columns are declared and indexed by us."""

    @classmethod
    def columns(cls) -> dict[str, Column[Any]]:
        """The columns by name, in order."""
        return dict(cls._columns)

    @classmethod
    def from_stored(cls, values: Mapping[str, Any], text: str | None = None) -> Self:
        """An object from column values as `stored_values` gives them, and the record's JSON text; not validated."""
        return cls.maker(values)(tuple(values.values()), text)  # type: ignore[no-any-return]

    @classmethod
    def maker(cls, names: Iterable[str]) -> Callable[[Sequence[Any], str | None], Any]:
        """`from_stored` for many: takes the values in the order of `names`."""
        return object_maker(cls, tuple(names))

    def stored_values(self) -> dict[str, Any]:
        """The columns by name as they are stored, times and durations in microseconds; None where there is no value."""
        return {
            name: _STORED[made.kind](getattr(self, name))
            for name, made in self._columns.items()
            if made.kind is not Kind.WORDS
        }

    def words(self) -> list[str] | None:
        """The words that a text match looks at; None where there are none to look at."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """The columns by name, as Python values."""
        return {name: getattr(self, name) for name, made in self._columns.items() if made.kind is not Kind.WORDS}

    def model_post_init(self, context: Any, /) -> None:
        """Name the object after what it is about; redis-om would draw lots."""
        super().model_post_init(context)
        self.__dict__["pk"] = self._pk(self.__dict__)

    @classmethod
    def _pk(cls, data: Mapping[str, Any]) -> str:
        return str(data["agent_id"])

    @classmethod
    def _instead(cls, method: str, right: str) -> NoReturn:
        raise UnsupportedMethodError(
            f"{cls.__name__}.{method} of redis-om would lose data or reach the wrong server: use {right}"
        )

    @classmethod
    def save(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: store the record through a backend."""
        cls._instead("save", f"backend.store_{cls.kind}(…) with the record")

    @classmethod
    def add(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: store the records through a backend."""
        cls._instead("add", "backend.store_runs(records)" if cls.kind == "run" else f"backend.store_{cls.kind}(…)")

    @classmethod
    def get(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: load the record through a backend."""
        cls._instead("get", f"backend.load_{cls.kind}(agent_id{', run_id' if cls.kind == 'run' else ''})")

    @classmethod
    def update(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: columns follow from the record, so change the record and store it again."""
        cls._instead("update", f"a changed record and backend.store_{cls.kind}(…)")

    @classmethod
    def delete(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: delete through a backend."""
        cls._instead("delete", f"backend.delete_{cls.kind}(agent_id{', run_id' if cls.kind == 'run' else ''})")

    @classmethod
    def delete_many(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: delete through a backend."""
        cls._instead(
            "delete_many", "backend.delete_runs(…)" if cls.kind == "run" else f"backend.delete_{cls.kind}(agent_id)"
        )

    @classmethod
    def all_pks(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: a SCAN of the whole server."""
        cls._instead("all_pks", "backend.iter_runs(agent_id)" if cls.kind == "run" else "backend.agents()")

    @classmethod
    def expire(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: it would set the time to live of another key."""
        cls._instead("expire", f"backend.delete_{cls.kind}(…)")

    @classmethod
    def db(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: a document class has no connection."""
        cls._instead("db", "a RedisBackend, which holds the connection")

    @classmethod
    def from_redis(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: it reads through redis-om's lossy conversions."""
        cls._instead("from_redis", f"backend.load_{cls.kind}(…)")

    @classmethod
    def key(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: keys depend on the prefix of the store."""
        cls._instead("key", "relay_models.documents.Keys(prefix)")

    @classmethod
    def make_key(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: keys depend on the prefix of the store."""
        cls._instead("make_key", "relay_models.documents.Keys(prefix)")

    @classmethod
    def make_primary_key(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: keys depend on the prefix of the store."""
        cls._instead("make_primary_key", "relay_models.documents.Keys(prefix)")

    @classmethod
    def redisearch_schema(cls, *args: Any, **kwargs: Any) -> str:
        """Blocked: redis-om's schema mixes up values that hold a separator."""
        if not cls.kind:  # asked by redis-om while the class comes about
            return ""
        cls._instead("redisearch_schema", "relay_models.documents.create_index_command(kind, keys)")

    @classmethod
    def check_datetime_schema_compatibility(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: the backend checks the layout of its indexes when it connects."""
        cls._instead("check_datetime_schema_compatibility", "RedisBackend.connect(…), which checks its indexes")

    def check(self) -> None:
        """Validate the object's values; ValidationError says what is wrong."""
        type(self).model_validate(self.model_dump())

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return str(self.pk) < str(other.pk)


_STORED: dict[Kind, Callable[[Any], Any]] = {
    Kind.TAG: lambda value: value,
    Kind.TAGS: lambda value: list(value or ()),
    Kind.COUNT: lambda value: value,
    Kind.NUMBER: lambda value: value,
    Kind.TIME: lambda value: None if value is None else microseconds_of(value),
    Kind.DURATION: lambda value: None if value is None else microseconds_of(value),
}
