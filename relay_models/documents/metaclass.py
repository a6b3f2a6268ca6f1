"""`DocumentMeta`: how a document class comes about, with its fields and columns."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import attrgetter
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, ForwardRef, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler, PydanticUserError, RootModel, field_validator
from pydantic_core import core_schema

from relay_models.columns.column import Column, Origin
from relay_models.columns.kind import Kind
from relay_models.documents.declaration import Declaration, apply_default, check_name, check_names
from relay_models.documents.own_models import (
    MODEL_SEGMENT,
    RESERVED,
    ModelSettings,
    as_datetime,
    check_fields,
    check_free_names,
    check_id,
    check_keywords,
    store_columns,
)
from relay_models.errors import InvalidConfigurationError, UnknownAttributeError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as ModelMeta
else:
    from redis_om.model.model import ModelMeta

__all__ = ["DocumentMeta"]


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
        _check_bases(name, bases)
        parent: Any = next((base for base in bases if isinstance(base, DocumentMeta)), None)
        settings = None
        # Not a field of that name with a default.
        annotations = _annotations(namespace)
        is_built_in = _is_class_variable(annotations.get("kind")) and "kind" in namespace
        if parent is not None and not is_built_in and (not parent._kind or parent._settings is not None):
            # A class of a user's, which is its own record.
            check_free_names(name, _field_names(annotations), parent)
            settings = ModelSettings.of(name, options)
            namespace |= {"_kind": MODEL_SEGMENT + settings.name, "_settings": settings}
            if "kind" not in annotations and "kind" not in parent.__pydantic_fields__:
                namespace["kind"] = namespace["_kind"]
            namespace |= {"_as_stored": _NO_VALIDATOR, "validate_pk": _NO_VALIDATOR}
            if settings.ttl is None and parent._settings is not None:
                settings = namespace["_settings"] = replace(settings, ttl=parent._settings.ttl)
        if is_built_in:
            namespace["_kind"] = namespace["kind"]
        extends = parent is not None and bool(parent._kind) and not is_built_in
        if parent is not None and not is_built_in and not _takes_keywords(bases, parent):
            check_keywords(name, options, "key, name and ttl" if settings else "no others; for runs there is run_ttl=")
        check_names(name, declared, parent._columns if extends else RESERVED if settings is not None else ())
        if extends and settings is None:
            check_free_names(name, _field_names(annotations), parent, has_record=True)
        if any(issubclass(base, RootModel) for base in bases):
            raise InvalidConfigurationError(
                f"{name}: a Document is no RootModel, as it has an id, too: declare a field of that type, as in "
                "items: list[int]"
            )
        namespace.update({field: declaration.field(name, field) for field, declaration in declared.items()})
        if settings is not None:
            _require_fields(namespace, annotations, bases)
        if parent is not None and "__pydantic_reset_parent_namespace__" not in options:
            # Pydantic would look for the names in annotations among the variables of this function.
            options["__pydantic_reset_parent_namespace__"] = False
            namespace["__pydantic_parent_namespace__"] = _local_names(sys._getframe(1))
        with warnings.catch_warnings():
            # A field may be called as a method that redis-om or pydantic has for other uses, such as `key` or `schema`.
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
            # Without redis-om's metaclass, which replaces fields without their validators and loses type parameters;
            # what it adds is of its own I/O, and inherited of the root.
            make: Any = super() if parent is None else super(ModelMeta, mcs)
            try:
                cls = make.__new__(mcs, name, bases, namespace, **options)
            except PydanticUserError as error:
                bare = next((field for field in declared if f"{field!r} requires a type annotation" in str(error)), "")
                if not bare:
                    raise InvalidConfigurationError(f"{name}: {error.message}") from error
                raise InvalidConfigurationError(
                    f"{name}.{bare}: annotate the column with what it holds, as in {bare}: Column[str] = column(…)"
                ) from None
        _install_columns(cls, declared, extends=extends)
        if settings is not None:
            _complete_items(cls, "model_post_init" in namespace)
        return cls

    if not TYPE_CHECKING:

        def __setattr__(cls, name: str, value: Any) -> None:
            if name == "__dataclass_fields__":
                raise InvalidConfigurationError(
                    f"{cls.__name__} is a pydantic model, whose fields are declared as they are: take @dataclass away"
                )
            super().__setattr__(name, value)

        def __getattr__(cls, name: str) -> Any:
            columns = vars(cls).get("_columns")
            if columns is None or name.startswith("_"):
                return super().__getattr__(name)
            known = f"{cls.__name__} has the columns {', '.join(columns)}"
            if name in cls.__pydantic_fields__:
                raise UnknownAttributeError(
                    f"{cls.__name__}.{name} is a field that cannot be asked by: annotate it as Column[…] and declare "
                    f"it by = column(…), or make a column of a part of it; {known}"
                )
            raise UnknownAttributeError(f"there is no column {name!r}; {known}")


def _check_bases(name: str, bases: tuple[type, ...]) -> None:
    """Refuse a class that would be of two kinds of documents."""
    documents: list[Any] = [base for base in bases if isinstance(base, DocumentMeta)]
    kinds = {base._settings is not None or base._kind: base.__name__ for base in documents if base._kind}
    if len(kinds) > 1:
        raise InvalidConfigurationError(
            f"{name} cannot be both {' and '.join(sorted(kinds.values()))}, which are kept apart: columns that runs "
            "share are declared in a subclass of Run, those of own models in one of Document"
        )


def _takes_keywords(bases: tuple[type, ...], parent: type) -> bool:
    """Whether a base of a user's has a hook that may take keywords of a class statement."""
    root = [base for base in parent.__mro__ if isinstance(base, DocumentMeta)][-1]
    made = {base for each in bases for base in each.__mro__}.difference(root.__mro__)
    return any(hook in vars(base) for base in made for hook in ("__init_subclass__", "__pydantic_init_subclass__"))


def _local_names(frame: FrameType | None) -> dict[str, Any] | None:
    """What annotations can name of the function or class around a class; None where that is a module."""
    if frame is not None and frame.f_code.co_name.startswith("<generic parameters of"):  # class Box[T](Document)
        frame = frame.f_back
    if frame is None or frame.f_code.co_name == "<module>":
        return None
    return {
        name: value
        for name, value in frame.f_locals.items()
        if isinstance(value, type | ModuleType) or type(value).__module__ in ("typing", "typing_extensions", "types")
    }


def _annotations(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations in the body of a class; what they name need not exist yet."""
    if "__annotations__" not in namespace and sys.version_info >= (3, 14):
        import annotationlib

        annotate = annotationlib.get_annotate_from_class_namespace(namespace)
        return annotationlib.call_annotate_function(annotate, annotationlib.Format.FORWARDREF) if annotate else {}
    return dict(namespace.get("__annotations__", {}))


def _field_names(annotations: Mapping[str, Any]) -> list[str]:
    """The names that are annotated as fields."""
    return [name for name, annotation in annotations.items() if not _is_class_variable(annotation)]


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    return get_origin(annotation) is ClassVar or (isinstance(annotation, str) and "ClassVar[" in annotation)


def _require_fields(namespace: dict[str, Any], annotations: Mapping[str, Any], bases: tuple[type, ...]) -> None:
    """Keep pydantic from taking a method of the same name for the default of a field without one."""
    known = {name for base in bases for name in getattr(base, "__pydantic_fields__", ())}
    for name, annotation in annotations.items():
        is_new = name not in namespace and name not in known and not _is_class_variable(annotation)
        if is_new and any(hasattr(base, name) for base in bases):
            namespace[name] = Field()


def _complete_items(cls: Any, has_hook: bool) -> None:
    """Give items an id before, and calculated columns after, whatever their class does once they are validated.

    Pydantic calls the ``model_post_init`` of a class alone, and one of a user's need not call that of its bases.
    """
    documents: list[Any] = [base for base in cls.__mro__ if isinstance(base, DocumentMeta)]
    root = documents[-1]
    foreign = (base for base in cls.__mro__ if base not in documents and base not in root.__mro__)
    cls._has_hooks = (
        has_hook
        or any(base._has_hooks for base in documents if base is not cls)
        or any("model_post_init" in vars(base) for base in foreign)
        or cls.__private_attributes__.keys() != root.__private_attributes__.keys()
    )
    hook = cls.model_post_init
    if getattr(hook, "completes_items", False):
        return

    @functools.wraps(hook)
    def complete(self: Any, context: Any, /) -> None:
        # Of a subclass, which may have columns of its own.
        made = type(self)
        made._begin_item(self, context)
        hook(self, context)
        made._calculate(self)

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
    bases: list[Any] = [base for base in cls.__mro__[1:] if isinstance(base, DocumentMeta)]
    known_fields = {name for base in bases for name in base.__pydantic_fields__}
    calculated = {name for name, declaration in declared.items() if is_model and declaration.value is not None}
    calculated = calculated.union(*(base._calculated for base in bases))
    for name in declared:
        if name not in cls.__pydantic_fields__:
            raise InvalidConfigurationError(
                f"{cls.__name__}.{name} is declared by column(…), and annotated as no field: annotate it as Column[…]"
            )
    for field_name, field in cls.__pydantic_fields__.items():
        is_column = field_name in cls._annotated
        inherited = next((base._columns[field_name] for base in bases if field_name in base._columns), None)
        if field_name in declared:
            if not is_column:
                if isinstance(field.annotation, str | ForwardRef):
                    text = getattr(field.annotation, "__forward_arg__", field.annotation)
                    raise InvalidConfigurationError(
                        f"{cls.__name__}.{field_name}: {text} names a type that is not defined yet; the type of a "
                        "column has to be defined before the class"
                    )
                raise InvalidConfigurationError(
                    f"{cls.__name__}.{field_name} is declared by column(…): annotate it as Column[…]"
                )
            if is_model or extends:
                check_name(cls.__name__, field_name)
            made = declared[field_name].column(cls.__name__, field_name, field.annotation, own=is_model or extends)
            if made.links == cls.__name__:
                made.links = cls
            if is_model and made.value is None:
                made.value = attrgetter(field_name)
            elif not is_model:
                changed = apply_default(field, made) or changed
        elif inherited is not None:
            made = inherited.copy_for(cls.__name__)
        elif isinstance(field.default, Declaration):
            raise InvalidConfigurationError(
                f"{cls.__name__}.{field_name} is declared by column(…) in a class that is no Document: make that one a "
                f"{'Document' if is_model else 'Run'}, or declare the column here"
            )
        elif is_column:
            raise InvalidConfigurationError(
                f"{cls.__name__}.{field_name} is annotated as Column[…]: declare it by = column(…)"
            )
        elif extends and not is_model and field_name not in known_fields:
            raise InvalidConfigurationError(
                f"{cls.__name__}.{field_name} would never have a value, as only columns have one here: annotate it as "
                "Column[…], and declare it by = column(…)"
            )
        else:
            continue
        columns[field_name] = made
        setattr(cls, field_name, made)
        if is_model:
            changed = _fit_field(field, made, field_name in calculated) or changed
    if is_model:
        of_store = store_columns(cls.__name__)
        columns = {"pk": of_store.pop("pk"), **columns, **of_store}
        for name in ("pk", *of_store):
            setattr(cls, name, columns[name])
        check_id(cls.__name__, cls.__pydantic_fields__["pk"].annotation)
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
    cls._calculated = frozenset(calculated)
    cls._left_out = cls._calculated | {"pk"}
    cls._kept_fields = tuple(name for name in cls.__pydantic_fields__ if name not in cls._left_out)
    if changed and not cls.model_config.get("defer_build"):
        cls.model_rebuild(force=True, _parent_namespace_depth=0)


def _fit_field(field: Any, column: Column[Any], is_calculated: bool) -> bool:
    """Let a field of an own model take what its column takes; whether that changed it."""
    changed = False
    if column.kind is Kind.TIME and _AS_DATETIME not in field.metadata:
        field.metadata = [_AS_DATETIME, *field.metadata]
        changed = True
    if is_calculated:
        field.default, changed = None, True
    elif column.kind is not Kind.WORDS or type(None) in get_args(field.annotation):
        changed = apply_default(field, column) or changed
    return changed


class _AsDatetime:
    """Lets a field take what `as_datetime` takes. JSON has no such, and is read without a call for each value."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        schema = handler(source)
        given = core_schema.no_info_before_validator_function(as_datetime, schema)
        return core_schema.json_or_python_schema(json_schema=schema, python_schema=given)


_AS_DATETIME = _AsDatetime()

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
