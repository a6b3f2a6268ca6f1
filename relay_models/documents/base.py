"""`Document`: redis-om's JsonModel as a schema and a way to write queries, tied to no server."""

from __future__ import annotations

import abc
import functools
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator
from redis_om import JsonModel
from redis_om.model.model import ModelMeta

from relay_models.columns.column import COLUMN, Column, Origin
from relay_models.columns.kind import Kind
from relay_models.columns.words import words_text
from relay_models.documents.declaration import Declaration, apply_default, check_name, check_names, column
from relay_models.documents.find import Find
from relay_models.documents.item_methods import ItemMethod
from relay_models.documents.making import object_maker
from relay_models.documents.own_models import (
    MODEL_SEGMENT,
    RESERVED,
    STORED,
    ModelSettings,
    as_datetime,
    check_fields,
    check_free_names,
    key_text,
    new_id,
    store_columns,
)
from relay_models.errors import InvalidConfigurationError, InvalidRecordError, UnsupportedMethodError
from relay_models.records import from_json

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


class DocumentMeta(ModelMeta):
    """Makes fields and columns of a document class's declarations.

    redis-om's ``index=True`` is not used: its proxies stand for its own columns, and its Migrator would make an index.
    """

    if TYPE_CHECKING:
        # Declared here, so that a field of an own model may have this name, too.
        @property
        def kind(cls) -> str:
            """Name of the document type, as in keys."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **options: Any) -> Any:
        declared = {field: it for field, it in namespace.items() if isinstance(it, Declaration)}
        parent: Any = next((base for base in bases if isinstance(base, DocumentMeta)), None)
        settings = None
        # Not a field of that name with a default.
        is_built_in = _is_class_variable(namespace.get("__annotations__", {}).get("kind")) and "kind" in namespace
        if parent is not None and not is_built_in and (not parent._kind or parent._settings is not None):
            # A class of a user's, which is its own record.
            check_free_names(name, namespace, parent)
            settings = ModelSettings.of(name, options)
            namespace |= {"_kind": MODEL_SEGMENT + settings.name, "_settings": settings}
            if "kind" not in namespace.get("__annotations__", {}) and "kind" not in parent.__pydantic_fields__:
                namespace["kind"] = namespace["_kind"]
            namespace |= {"_as_stored": _NO_VALIDATOR, "validate_pk": _NO_VALIDATOR}
            if settings.ttl is None and parent._settings is not None:
                settings = namespace["_settings"] = replace(settings, ttl=parent._settings.ttl)
        if is_built_in:
            namespace["_kind"] = namespace["kind"]
        extends = parent is not None and bool(parent._kind) and not is_built_in
        check_names(name, declared, parent._columns if extends else RESERVED if settings is not None else ())
        namespace.update({field: declaration.field() for field, declaration in declared.items()})
        if settings is not None:
            _require_fields(namespace, bases)
        with warnings.catch_warnings():
            # A field may be called as a method that redis-om or pydantic has for other uses, such as `key` or `schema`.
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
            # Without redis-om's metaclass, which makes fields anew without their validators and loses type parameters;
            # what it adds is of its own I/O, and inherited of `Document`.
            make: Any = super() if parent is None else super(ModelMeta, mcs)
            cls = make.__new__(mcs, name, bases, namespace, **options)
        _install_columns(cls, declared, extends=extends)
        if settings is not None:
            _complete_items(cls, "model_post_init" in namespace)
        return cls


def _is_class_variable(annotation: Any) -> bool:
    return get_origin(annotation) is ClassVar or (isinstance(annotation, str) and "ClassVar[" in annotation)


def _require_fields(namespace: dict[str, Any], bases: tuple[type, ...]) -> None:
    """Keep pydantic from taking a method of the same name for the default of a field without one."""
    known = {name for base in bases for name in getattr(base, "__pydantic_fields__", ())}
    for name, annotation in namespace.get("__annotations__", {}).items():
        is_new = name not in namespace and name not in known and not _is_class_variable(annotation)
        if is_new and hasattr(Document, name):
            namespace[name] = Field()


def _complete_items(cls: Any, has_hook: bool) -> None:
    """Give items an id before, and calculated columns after, whatever their class does once they are validated.

    Pydantic calls the ``model_post_init`` of a class alone, and one of a user's need not call that of its bases.
    """
    foreign = (base for base in cls.__mro__ if not issubclass(base, Document) and base not in Document.__mro__)
    cls._has_hooks = (
        has_hook
        or any(base._has_hooks for base in cls.__bases__ if issubclass(base, Document))
        or any("model_post_init" in vars(base) for base in foreign)
        or cls.__private_attributes__.keys() != Document.__private_attributes__.keys()
    )
    hook = cls.model_post_init
    if getattr(hook, "completes_items", False):
        return

    @functools.wraps(hook)
    def complete(self: Any, context: Any, /) -> None:
        cls._begin_item(self, context)
        hook(self, context)
        cls._calculate(self)

    complete.completes_items = True  # type: ignore[attr-defined]
    cls.model_post_init = complete


def _install_columns(cls: Any, declared: Mapping[str, Declaration], *, extends: bool) -> None:
    """Replace redis-om's proxies by the columns, and work out once what is needed of them.

    Raises:
        InvalidConfigurationError: a field is annotated as a column and not declared as one, or the other way round,
            or no index has values of its type.
    """
    columns: dict[str, Column[Any]] = {}
    changed = False
    is_model = cls._settings is not None
    if is_model:
        check_fields(cls, cls._settings)
    for field_name, field in cls.__pydantic_fields__.items():
        is_column = field_name in cls._annotated
        inherited = getattr(cls, "_columns", {}).get(field_name)
        if field_name in declared:
            if not is_column:
                raise InvalidConfigurationError(
                    f"{cls.__name__}.{field_name} is declared by column(…): annotate it as Column[…]"
                )
            if is_model or extends:
                check_name(cls.__name__, field_name)
            made = declared[field_name].column(cls.__name__, field_name, field.annotation, own=is_model or extends)
            if is_model and made.kind is Kind.TIME:
                field.metadata = [BeforeValidator(as_datetime), *field.metadata]
                changed = True
            if is_model and made.value is None:
                made.value = attrgetter(field_name)
                if made.kind is not Kind.WORDS or type(None) in get_args(field.annotation):
                    changed = apply_default(field, made) or changed
            elif is_model:
                field.default = None
                changed = True
            else:
                changed = apply_default(field, made) or changed
        elif inherited is not None:
            made = inherited.copy_for(cls.__name__)
        elif is_column:
            raise InvalidConfigurationError(
                f"{cls.__name__}.{field_name} is annotated as Column[…]: declare it by = column(…)"
            )
        else:
            continue
        columns[field_name] = made
        setattr(cls, field_name, made)
    if is_model:
        of_store = store_columns(cls.__name__)
        columns = {"pk": of_store.pop("pk"), **columns, **of_store}
        for name in ("pk", *of_store):
            setattr(cls, name, columns[name])
        # redis-om's default draws a ULID for every object.
        cls.__pydantic_fields__["pk"].default_factory = None
        cls.__pydantic_fields__["pk"].default = None
        changed = True
    cls._columns = columns
    read = [name for name, made in columns.items() if made.kind is not Kind.WORDS]
    cls.own_columns = tuple(name for name in read if columns[name].own)
    cls.row_columns = tuple(
        name for name in read if columns[name].origin is not Origin.STORE and not columns[name].own and not is_model
    )
    kept = (*cls.row_columns, *cls.own_columns)
    summarized = tuple(name for name in kept if columns[name].value is None and columns[name].origin is Origin.RECORD)
    _check_summary(cls, summarized)
    cls._summarized = summarized
    cls._read_summary = staticmethod(_reader(summarized))
    computed = (columns[name] for name in kept)
    cls._computed = tuple((made.name, made.value, made.type.store, made) for made in computed if made.value is not None)
    cls._calculated = frozenset(
        name for name, made in declared.items() if is_model and made.value is not None
    ) | getattr(cls, "_calculated", frozenset())
    cls._left_out = cls._calculated | {"pk"}
    cls._kept_fields = tuple(name for name in cls.__pydantic_fields__ if name not in cls._left_out)
    if changed and not cls.model_config.get("defer_build"):
        cls.model_rebuild(force=True)


# In own models in place of `Document._as_stored`, as their numbers mean what they mean to pydantic, and of redis-om's
# validator of ids, which draws a ULID.
_NO_VALIDATOR = field_validator("-", mode="before", check_fields=False)(lambda value: value)


def _check_summary(cls: Any, names: tuple[str, ...]) -> None:
    """Refuse columns without a `value` that the summary has no attribute for."""
    source = cls.record_type if cls.summary_type is None else cls.summary_type
    if not isinstance(source, type):
        return
    for name in names:
        if not hasattr(source, name) and name not in getattr(source, "__pydantic_fields__", {}):
            raise InvalidConfigurationError(
                f"{cls.__name__}.{name} has no value: {source.__name__} has no such attribute; say what it is computed "
                "from, as in column(lambda record: …)"
            )


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda summary: (getattr(summary, names[0]),)
    return attrgetter(*names) if names else lambda summary: ()


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
                about = f"{made!r} has no value for {cls.describe(record)}: {error or type(error).__name__}"
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
    def find(cls, *filters: Any) -> Find[Self]:  # type: ignore[override]  # run by a backend, not by redis-om
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
        values: dict[str, Any] = {}
        for name, made in self._columns.items():
            if made.kind is not Kind.WORDS:
                value = getattr(self, name)
                if value is None and made.type.empty is not None:
                    value = ()
                values[name] = None if value is None else made.type.store(value)
        return values

    def matched_values(self, names: Collection[str]) -> dict[str, Any]:
        """`stored_values`, with the words of running text where `names` has such a column and the record was read."""
        values = self.stored_values()
        wanted = [name for name in names if name in self._columns and self._columns[name].kind is Kind.WORDS]
        if wanted and (record := self._parsed_record()) is not None:
            words = self.indexed_words(record)
            values.update({name: words.get(name, "").split() for name in wanted})
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

        def save(self, *, ttl: timedelta | None = None) -> Any:  # type: ignore[override]
            """Save an item that is bound to a store by `backend.bind`; to be awaited where that is async."""

        def update(self, /, **changes: Any) -> Any:
            """Change fields of a bound item, here and in the store."""

        def delete(self) -> Any:  # type: ignore[override]
            """Delete a bound item."""

        def expire(self, seconds: float | timedelta) -> Any:  # type: ignore[override]
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
            return bool(super().__eq__(other))
        # When a document was stored is no part of what it says.
        ours, theirs = self.__dict__, other.__dict__
        return all(ours.get(name) == theirs.get(name) for name in type(self).__pydantic_fields__)

    __hash__ = None  # type: ignore[assignment]
