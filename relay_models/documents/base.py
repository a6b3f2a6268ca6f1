"""`Document`: redis-om's JsonModel as a schema and a way to write queries, tied to no server."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationInfo, field_validator

from relay_models._checks import reason_of
from relay_models.columns.column import COLUMN, Column
from relay_models.columns.kind import Kind
from relay_models.columns.words import words_text
from relay_models.documents.declaration import column
from relay_models.documents.find import Find
from relay_models.documents.item_methods import ItemMethod
from relay_models.documents.making import object_maker
from relay_models.documents.metaclass import DocumentMeta
from relay_models.documents.own_models import STORED, ModelSettings, key_text, new_id
from relay_models.errors import InvalidRecordError, UnsupportedMethodError
from relay_models.records import from_json

if TYPE_CHECKING:
    # redis-om's own types keep type checkers from pydantic's `model_config` and from type parameters of models.
    JsonModel = BaseModel
else:
    from redis_om import JsonModel

__all__ = ["Document", "column"]


# What a collection has in place of redis-om's methods.
_METHODS = {
    "save": "save(item)", "add": "save_many(items)", "get": "get(pk)", "update": "update(pk, …)",
    "delete": "delete_one(pk)", "delete_many": "delete_many(pks)", "all_pks": "stream()", "expire": "expire(pk, ttl)",
    "from_redis": "get(pk)",
}  # fmt: skip


class _NoServer:
    """Stands where redis-om keeps its connection, so that nothing can be sent past a backend."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnsupportedMethodError(
            "a document class is tied to no server: store, load and find through a RedisBackend"
        )


class _RecordProperty:
    """The record of a document. A field of an own model may have the same name, and then is what its items have."""

    def __get__(self, item: Any, owner: Any) -> Any:
        return self if item is None else item._parsed_record()


class Document(JsonModel, abc.ABC, metaclass=DocumentMeta):
    """What all document types share.

    On the class, a column makes expressions (``Run.duration > timedelta(seconds=2)``); on an object it is the value.
    redis-om's own ways to read and write lose data (nanoseconds, keys, big integers) and go to one global server: they
    raise `UnsupportedMethodError`, which names the method of the backend that does it right.
    """

    # The validator is built when it is first used: reading rows does without.
    model_config = ConfigDict(
        defer_build=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
        ser_json_inf_nan="constants",
        ignored_types=(ItemMethod, _RecordProperty),
    )

    class Meta:
        database = _NoServer()
        global_key_prefix = ""

    if not TYPE_CHECKING:
        kind: ClassVar[str] = ""
    _kind: ClassVar[str] = ""
    record_type: ClassVar[Any] = None
    """Type of the record: a model, or a list of one."""
    summary_type: ClassVar[type | None] = None
    """Type of what `summarize` makes; None where that is the record."""
    has_labels: ClassVar[bool] = False
    """Documents of this type can have labels."""
    row_columns: ClassVar[tuple[str, ...]] = ()
    """Names of the columns whose values ``row`` holds as a JSON array, by their positions in it.

    Positions are part of the stored layout: columns are only ever added at the end.
    """
    own_columns: ClassVar[tuple[str, ...]] = ()
    """Names of the columns that a user declared, whose values ``own_row`` holds as a JSON object, by name."""
    _settings: ClassVar[ModelSettings | None] = None
    """How a class that is its own record is kept; None for classes about a record of another type."""
    _calculated: ClassVar[frozenset[str]] = frozenset()
    _has_hooks: ClassVar[bool] = False
    """Objects cannot be made of validated fields alone: their class does more, or has private attributes."""
    _left_out: ClassVar[frozenset[str]] = frozenset()
    _kept_fields: ClassVar[tuple[str, ...]] = ()
    _columns: ClassVar[dict[str, Column[Any]]] = {}
    _annotated: ClassVar[frozenset[str]] = frozenset()
    _summarized: ClassVar[tuple[str, ...]] = ()
    _read_summary: ClassVar[Callable[[Any], tuple[Any, ...]]]
    _computed: ClassVar[tuple[tuple[str, Callable[[Any], Any], Callable[[Any], Any], Column[Any]], ...]] = ()
    _record: Any = PrivateAttr(None)
    _binding: Any = PrivateAttr(None)

    if TYPE_CHECKING:
        # What documents of one's own have; the built-in ones declare which of them they have.
        pk: Column[str] = column("Its id.")
        stored_at: Column[datetime | None] = column("When it was first stored.")
        updated_at: Column[datetime | None] = column("When it was last stored.")

        def __init__(self, /, **values: Any) -> None: ...

    else:
        # redis-om's would ask the server, at once, which modules it has.
        __init__ = BaseModel.__init__

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Remember which fields are annotated as columns."""
        super().__pydantic_init_subclass__(**options)
        fields = cls.__pydantic_fields__
        cls._annotated = frozenset(name for name, field in fields.items() if COLUMN in field.metadata)

    def __init_subclass__(cls, **options: Any) -> None:
        """Take redis-om's check of its own schema away: our columns are declared and indexed by us."""
        super(BaseModel, cls).__init_subclass__()  # what generic classes need

    @classmethod
    def columns(cls) -> dict[str, Column[Any]]:
        """The columns by name, in order."""
        return dict(cls._columns)

    @classmethod
    def summarize(cls, record: Any) -> Any:
        """What columns without a `value` of their own are attributes of, made once per record.

        The attributes are values as they are stored; None where there is none.
        """
        return record

    @classmethod
    def column_values(cls, record: Any, **given: Any) -> dict[str, Any]:
        """What the columns hold, by name, as stored; a column without a value is left out.

        Args:
            record: the record.
            given: the values of the columns that do not come from the record.

        Raises:
            InvalidRecordError: a value cannot be computed or stored; names the column.
        """
        read = cls._read_summary(cls.summarize(record))
        values = {name: value for name, value in zip(cls._summarized, read, strict=True) if value is not None}
        for name, compute, store, made in cls._computed:
            try:
                value = compute(record)
                if value is not None and (stored := store(value)) != []:
                    is_text = type(stored) is str and made.kind is Kind.TAG
                    values[name] = stored if is_text else made.type.checked(stored)
                elif not made.nullable:
                    raise ValueError("it is None, and its annotation does not allow that")
            except Exception as error:
                about = f"{made!r} cannot be stored for {cls.describe(record)}: {reason_of(error)}"
                raise InvalidRecordError(about, made.name) from error
        return given | values if given else values

    @classmethod
    def is_own_model(cls) -> bool:
        """Whether its objects are their own records."""
        return cls._settings is not None

    @classmethod
    def describe(cls, record: Any) -> str:
        """What a message calls a record."""
        return f"{cls.__name__} {record.pk!r}" if isinstance(record, Document) else "this record"

    @classmethod
    def indexed_words(cls, record: Any) -> dict[str, str]:
        """The words of the columns of running text as the index gets them, by name; empty texts are left out."""
        found: dict[str, str] = {}
        for name, made in cls._columns.items():
            if made.kind is Kind.WORDS and made.value is not None:
                texts = made.value(record) or ()
                if words := words_text([texts] if isinstance(texts, str) else texts):
                    found[name] = words
        return found

    @classmethod
    def find(cls, *filters: Any) -> Find[Self]:  # run by a backend, not by redis-om
        """A query for the documents that meet all `filters`; every document without any.

        Args:
            filters: expressions, or text of the filter language.

        Example:
            ```python
            query = Run.find(Run.agent_id == "planner", Run.duration > timedelta(seconds=2))
            page = await backend.find_runs(query)
            ```
        """
        return Find(cls, filters)

    @classmethod
    def from_stored(cls, values: Mapping[str, Any], text: str | None = None) -> Self:
        """An object from column values as `stored_values` gives them, and the record's JSON text; not validated."""
        return cls.maker(values)(tuple(values.values()), text)  # type: ignore[no-any-return]

    @classmethod
    def maker(cls, names: Iterable[str]) -> Callable[[Sequence[Any], str | None], Any]:
        """`from_stored` for many: takes the values in the order of `names`."""
        return object_maker(cls, tuple(names))

    if TYPE_CHECKING:

        @property
        def record(self) -> Any:
            """The record, parsed when first asked for; None where only columns were read.

            Raises:
                InvalidRecordError: the stored text is not such a record.
            """

    else:
        record = _RecordProperty()

    def _parsed_record(self) -> Any:
        if self._settings is not None:
            return self
        text = self.__dict__.get("record_json")
        if self._record is None and text is not None:
            self._record = from_json(self.record_type, text)
        return self._record

    def stored_values(self) -> dict[str, Any]:
        """The columns by name as they are stored, times and durations in microseconds; None where there is no value."""
        return {name: self._stored_value(made) for name, made in self._columns.items() if made.kind is not Kind.WORDS}

    def _stored_value(self, column: Column[Any]) -> Any:
        value = getattr(self, column.name)
        if value is None and column.type.empty is not None:
            value = ()
        return None if value is None else column.type.store(value)

    def matched_values(self, names: Collection[str]) -> dict[str, Any]:
        """The stored values of these columns, and their words of running text where the record was read."""
        columns = [self._columns[name] for name in names if name in self._columns]
        values = {made.name: self._stored_value(made) for made in columns if made.kind is not Kind.WORDS}
        words = [made.name for made in columns if made.kind is Kind.WORDS]
        if words and (record := self._parsed_record()) is not None:
            indexed = self.indexed_words(record)
            values.update({name: indexed.get(name, "").split() for name in words})
        return values

    def to_dict(self) -> dict[str, Any]:
        """The columns by name, as Python values."""
        return {name: getattr(self, name) for name, made in self._columns.items() if made.kind is not Kind.WORDS}

    def model_post_init(self, context: Any, /) -> None:
        """Name the object after what it is about."""
        if self._settings is None:
            self.__dict__["pk"] = self._pk(self.__dict__)

    @classmethod
    def _begin_item(cls, item: Any, context: Any) -> None:
        """Give a new item of an own model its id."""
        data = item.__dict__
        data["stored_at"] = data["updated_at"] = data["record_json"] = None
        settings = cls._settings
        if context is STORED or settings is None:
            return
        if settings.key:
            data["pk"] = key_text([data[name] for name in settings.key])
        elif not data.get("pk"):
            data["pk"] = new_id()

    @classmethod
    def _calculate(cls, item: Any) -> None:
        """Compute the columns of an item of an own model that functions make."""
        for name in cls._calculated:
            compute = cls._columns[name].value
            item.__dict__[name] = None if compute is None else compute(item)

    @field_validator("*", mode="before", check_fields=False)
    @classmethod
    def _as_stored(cls, value: Any, info: ValidationInfo) -> Any:
        """Take times and durations as they are stored, too."""
        made = cls._columns.get(info.field_name or "")
        if made is None or made.kind not in (Kind.TIME, Kind.DURATION):
            return value
        if type(value) is int and made.type.load is not None:
            return made.type.load(value)
        return getattr(value, "datetime", value)

    @classmethod
    def _pk(cls, data: Mapping[str, Any]) -> str:
        return str(data["agent_id"])

    @classmethod
    def _misused(cls, method: str, right: str) -> UnsupportedMethodError:
        if cls._settings is not None:
            name = cls.__name__
            right = f"backend.collection({name}).{_METHODS.get(method, method)}, or backend.bind({name})"
        return UnsupportedMethodError(
            f"{cls.__name__}.{method} of redis-om would lose data or reach the wrong server: use {right}"
        )

    @classmethod
    def _instead(cls, method: str, right: str) -> NoReturn:
        raise cls._misused(method, right)

    if TYPE_CHECKING:

        def save(self, *, ttl: timedelta | None = None) -> Any:
            """Save an item that is bound to a store by `backend.bind`; to be awaited where that is async."""

        def update(self, /, **changes: Any) -> Any:
            """Change fields of a bound item, here and in the store."""

        def delete(self) -> Any:
            """Delete a bound item."""

        def expire(self, seconds: float | timedelta) -> Any:
            """Keep a bound item this long from now on."""

    else:
        save = ItemMethod("backend.store_{kind}(…) with the record")
        update = ItemMethod("a changed record and backend.store_{kind}(…)")
        delete = ItemMethod("backend.delete_{kind}(…)")
        expire = ItemMethod("backend.delete_{kind}(…)")

    @classmethod
    def add(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: store the records through a backend."""
        cls._instead("add", "backend.store_runs(records)" if cls._kind == "run" else f"backend.store_{cls._kind}(…)")

    @classmethod
    def get(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: load the record through a backend."""
        cls._instead("get", f"backend.load_{cls._kind}(agent_id{', run_id' if cls._kind == 'run' else ''})")

    @classmethod
    def delete_many(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: delete through a backend."""
        cls._instead(
            "delete_many", "backend.delete_runs(…)" if cls._kind == "run" else f"backend.delete_{cls._kind}(agent_id)"
        )

    @classmethod
    def all_pks(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: a SCAN of the whole server."""
        cls._instead("all_pks", "backend.iter_runs(agent_id)" if cls._kind == "run" else "backend.agents()")

    @classmethod
    def db(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: a document class has no connection."""
        cls._instead("db", "a RedisBackend, which holds the connection")

    @classmethod
    def from_redis(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Blocked: it reads through redis-om's lossy conversions."""
        cls._instead("from_redis", f"backend.load_{cls._kind}(…)")

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
        if not cls._kind:  # asked by redis-om while the class comes about
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

    def __eq__(self, other: Any) -> bool:
        if self._settings is None or type(other) is not type(self):
            # Also NotImplemented, which is no bool: `None == document` asks the document.
            return super().__eq__(other)
        # When a document was stored is no part of what it says.
        ours, theirs = self.__dict__, other.__dict__
        return all(ours.get(name) == theirs.get(name) for name in type(self).__pydantic_fields__)

    __hash__ = None  # type: ignore[assignment]
