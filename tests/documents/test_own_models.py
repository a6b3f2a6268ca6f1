"""Classes that are their own records: what is declared, and what is refused when the class is created."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import pytest
from pydantic import BaseModel, RootModel, ValidationError

from relay_models import Column, Document, Run, column
from relay_models.documents import Keys, codec_of
from relay_models.documents.own_models import key_text
from relay_models.documents.schema import own_layout
from relay_models.errors import (
    InvalidConfigurationError,
    InvalidRecordError,
    UnknownAttributeError,
    UnsupportedMethodError,
)
from relay_models.sync import RedisBackend


class Note(Document, key="slug", ttl=timedelta(days=1)):
    """A note."""

    slug: Column[str] = column()
    size: Column[int | None] = column()


def made(
    name: str = "Made", annotation: Any = Column[str], field: str = "text", fields: Any = None, **options: Any
) -> Any:
    annotations = {field: annotation, **(fields or {})}
    namespace = {"__module__": __name__, "__annotations__": annotations, field: column()}
    return type(Document)(name, (Document,), namespace, **options)


def test_a_class_says_how_it_is_kept() -> None:
    note = Note(slug="a:b")
    assert (note.pk, note.size, note.stored_at) == ("a:b", None, None)
    assert note == Note(slug="a:b")
    assert note != Note(slug="a:b", size=1)
    assert not any(other == note or note == other for other in (None, "a:b", made()(text="a:b")))
    assert list(Note.columns()) == ["pk", "slug", "size", "stored_at", "updated_at"]
    assert Note.kind == "model:note"
    assert made("UserFeedback").kind == "model:user_feedback"
    assert made(name="Other", annotation=Column[str]).kind == "model:other"
    first, second = made()(text="x"), made()(text="x")
    assert UUID(first.pk).version == 7
    assert first.pk < second.pk


T = TypeVar("T")


class Owned(Document, ttl=timedelta(hours=1)):
    owner: Column[str] = column(default="me", min_length=2)
    weight: Column[int] = column(ge=1, alias="w")
    opened: Column[datetime | None] = column()
    initial: Column[str] = column(value=lambda item: item.owner[0])
    tags: Column[list[str]] = column()


class Named(Document):
    name: Column[str] = column(default="n")
    length: Column[int] = column(value=lambda item: len(item.name))


class Envelope(Owned, Generic[T]):
    payload: T
    note: Column[str | None] = column()


class Both(BaseModel):
    plain: int = 3


class Mixed(Both, Owned, Named):
    size: Column[int] = column(default=0)
    double: Column[int] = column(value=lambda item: item.weight * 2)


@pytest.mark.parametrize(("model", "values"), [
    (type(Document)("Heir", (Owned,), {"__module__": __name__}), {}), (Mixed, {}), (Envelope[int], {"payload": 1}),
    (type(Document)("Letter", (Envelope[str],), {"__module__": __name__}), {"payload": "a"}),
])  # fmt: skip
def test_a_subclass_has_the_fields_and_columns_of_its_bases(model: Any, values: dict[str, Any]) -> None:
    item = model(w=2, **values)
    assert (item.owner, item.weight, item.opened, item.initial, item.tags) == ("me", 2, None, "m", [])
    codec = codec_of(model)
    assert codec.decode(item.pk, codec.encode(item).text, None, None) == item
    for wrong in ({}, {"w": 0}, {"w": 1, "owner": "x"}):
        with pytest.raises(ValidationError):
            model(**values, **wrong)
    assert {"owner", "weight", "opened", "initial", "tags"} <= model.columns().keys()
    assert repr(model.owner) == f"{model.__name__}.owner"
    assert model._settings.ttl == timedelta(hours=1)


def test_a_subclass_of_several_documents_has_the_columns_of_all() -> None:
    item: Any = Mixed(w=1)
    assert (item.plain, item.size, item.name, item.length, item.initial, item.double) == (3, 0, "n", 1, "m", 2)
    assert {"size", "name", "length", "owner", "initial"} <= Mixed.columns().keys()
    assert "name" not in Owned.columns()


def test_columns_of_classes_that_are_no_documents_are_refused() -> None:
    class Plain:
        owner: Column[str] = column()

    class PlainModel(BaseModel):
        owner: Column[str] = column()

    for base in (Plain, PlainModel):
        for document in (Document, Run):
            with pytest.raises(InvalidConfigurationError, match=f"make that one a {document.__name__}"):
                type(Document)("Heir", (base, document), {"__module__": __name__})


class Shade(str, Enum):  # noqa: UP042
    RED = "red"


DIGITS = "1234567890" * 4 + "1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EQUAL: list[tuple[Any, Any, str]] = [
    (Decimal("1.5"), Decimal("1.500"), "1.5"),
    (Decimal("1E+2"), Decimal(100), "100"),
    (Decimal("-0.0"), Decimal(0), "0"),
    (Decimal(f"0.{DIGITS}"), Decimal(f"0.{DIGITS}0"), f"0.{DIGITS}"),
    (NOON, NOON.astimezone(timezone(timedelta(hours=1))), "2026-01-01T12:00:00Z"),
    (Shade.RED, "red", "red"),
    (timedelta(days=1), timedelta(hours=24), "P1D"),
    (UUID(int=1), UUID(int=1), str(UUID(int=1))),
]


@pytest.mark.parametrize(("first", "second", "id"), EQUAL)
def test_equal_values_are_one_id(first: Any, second: Any, id: str) -> None:
    assert key_text(first) == key_text(second) == key_text((first,)) == id


@pytest.mark.parametrize("value", [
    None, 1.5, b"x", {"a": 1}, frozenset({"a"}), {"a"}, Note(slug="a"), Decimal("NaN"), Decimal("Infinity"), "\ud800",
    object(), pytest.param(10**5000, id="long"), ("a", ["b"]),
])  # fmt: skip
def test_values_that_are_no_id_are_refused(value: Any) -> None:
    with pytest.raises(InvalidRecordError, match="cannot be") as refused:
        key_text((value, "b") if not isinstance(value, tuple) else value)
    assert len(str(refused.value)) < 400


NAMES = [
    "größe", "数量", "key", "schema", "json", "copy", "id", "is", "in",
    "kind", "record", "update", "save", "delete", "find", "expire", "get", "self", "ttl",
]  # fmt: skip


@pytest.mark.parametrize("field", NAMES)
def test_other_names_are_fine(field: str, recwarn: pytest.WarningsRecorder) -> None:
    model = made(field=field)
    item = model(**{field: "x"})
    assert item.to_dict()[field] == getattr(item, field) == "x"
    assert str(getattr(model, field) == "x") == f'{field} = "x"'
    assert model._kind == "model:made"
    assert not recwarn


@pytest.mark.parametrize("field", NAMES)
def test_a_plain_field_of_any_name_is_required_and_read(field: str, recwarn: pytest.WarningsRecorder) -> None:
    model = made(fields={field: str})
    with pytest.raises(ValidationError, match="Field required"):
        model(text="a")
    item = model(**{"text": "a", field: "x"})
    assert getattr(item, field) == "x"
    found = codec_of(model).decode(item.pk, codec_of(model).encode(item).text, None, None)
    assert (found, getattr(found, field)) == (item, "x")
    assert not recwarn


@pytest.mark.parametrize(
    "field",
    [
        "not",
        "All",
        "count",
        "bucket",
        "g0",
        "text_words",
        "u8_00",
        "two words",
        "stored_at",
        "columns",
        "Meta",
        "model_dump",
        "model_extra",
        "model_config",
        "model_post_init",
        "validate_pk",
        "_hidden",
    ],
)
def test_names_that_mean_something_else_are_refused(field: str) -> None:
    with pytest.raises(InvalidConfigurationError, match=field):
        made(field=field)


@pytest.mark.parametrize("decorate", [dataclass, dataclass(frozen=True, slots=True)])
@pytest.mark.parametrize("base", [Document, Run])
def test_a_document_is_no_dataclass(base: Any, decorate: Any) -> None:
    decorated = type(base)("Decorated", (base,), {"__module__": __name__, "__annotations__": {}})
    with pytest.raises(InvalidConfigurationError, match=r"Decorated is a pydantic model.*@dataclass"):
        decorate(decorated)


def test_a_class_is_of_one_kind_of_documents() -> None:
    class Owned(Document):
        owner: Column[str | None] = column()

    class Owning(Run):
        owner: Column[str | None] = column(value=lambda run: run.agent_id)

    for bases in ((Owned, Run), (Owning, Owned)):
        with pytest.raises(InvalidConfigurationError, match=r"Both cannot be both Own.* and .*subclass of Run"):
            type(Document)("Both", bases, {"__module__": __name__})
    assert "owner" in type(Document)("Heir", (Owning, Run), {"__module__": __name__}).columns()


def test_a_document_is_no_root_model() -> None:
    with pytest.raises(InvalidConfigurationError, match=r"Codes: a Document is no RootModel.*items: list\[int\]"):

        class Codes(Document, RootModel[list[int]]):
            pass


def test_the_types_of_fields_are_known_when_a_store_is_asked() -> None:
    class Unknown:
        pass

    class Odd(Document):
        field: Unknown

    with pytest.raises(InvalidConfigurationError, match=r"Odd: .*Unknown"):
        codec_of(Odd)


def test_settings_that_cannot_work_are_refused() -> None:
    for options in ({"key": "nothing"}, {"key": 3}, {"key": ("text", 3)}, {"ttl": 5}, {"ttl": timedelta(0)}):
        with pytest.raises(InvalidConfigurationError):
            made(**options)
    with pytest.raises(InvalidConfigurationError, match="name"):

        class Odd(Document, name="a:b"):
            pass

    with pytest.raises(InvalidConfigurationError, match=r"Twice\.calls: there is a column of that name already"):

        class Twice(Run):
            calls: Column[int] = column(lambda run: 1)

    with pytest.raises(InvalidConfigurationError, match="@model:"):
        Keys("x@model:note:")


def test_redis_oms_methods_name_what_to_call() -> None:
    note = Note(slug="a")
    for method, right in (("save", "save(item)"), ("delete", "delete_one(pk)"), ("get", "get(pk)")):
        with pytest.raises(UnsupportedMethodError) as error:
            getattr(note, method)()
        assert f"backend.collection(Note).{right}" in str(error.value)


def test_the_layout_follows_from_names_and_types() -> None:
    assert own_layout(Run) == ""
    assert own_layout(made()) == own_layout(made())
    different = {own_layout(one) for one in (made(), made(field="b"), made(annotation=Column[int]), made(annotation=Column[str | None]))}  # fmt: skip  # noqa: E501
    assert len(different) == 4


def test_a_class_takes_the_keywords_that_mean_something() -> None:
    class Hooked(Document):
        def __init_subclass__(cls, table: str = "", **options: Any) -> None:
            super().__init_subclass__(**options)

    assert made(frozen=True).model_config["frozen"]
    assert type(Document)("Rows", (Hooked,), {"__module__": __name__}, table="rows").kind == "model:rows"
    with pytest.raises(InvalidConfigurationError, match=r"Made: a class has no keyword 'tll'.*key, name and ttl"):
        made(tll=timedelta(days=1))


@pytest.mark.parametrize(
    ("annotation", "options", "message"),
    [
        (Column[int], {"text": True}, "text=True is for str"),
        (Column[str], {"links": dict}, "links is a document class, such as Run"),
        (Column[str], {"links": "Run"}, "links is a document class, .* not 'Run'"),
        (Column[str], {"sortible": False}, "column.* has no option 'sortible'"),
        (Column[str], {"default": "", "default_factory": str}, "cannot specify both default and default_factory"),
        (ClassVar[Column[str]], {}, "is declared by column.*annotate it as Column"),
    ],
)
def test_options_that_mean_nothing_are_refused(annotation: Any, options: dict[str, Any], message: str) -> None:
    namespace = {"__module__": __name__, "__annotations__": {"field": annotation}, "field": column(**options)}
    with pytest.raises(InvalidConfigurationError, match=rf"Made\.field:? {message}"):
        type(Document)("Made", (Document,), namespace)


def test_what_a_class_cannot_be_asked_is_said() -> None:
    with pytest.raises(UnknownAttributeError, match=r"Parcel\.parts is a field that cannot.*columns pk, owner"):
        Parcel.parts == ()  # noqa: B015
    with pytest.raises(UnsupportedMethodError, match=r"backend\.bind\(Parcel\)\.find"):
        Parcel.find(Parcel.owner == "ada").all()  # type: ignore[attr-defined]


class Parcel(Document):
    owner: Column[str] = column()
    parts: tuple[str, ...] = ()


def test_an_id_is_text() -> None:
    with pytest.raises(InvalidConfigurationError, match=r"Numbered\.pk is text.*key="):

        class Numbered(Document):
            pk: int


def test_columns_that_are_of_a_type_parameter_belong_into_subclasses() -> None:
    with pytest.raises(InvalidConfigurationError, match="declare the column in the subclasses"):

        class Box(Document, Generic[T]):
            item: Column[T] = column()


def test_a_class_links_to_itself_by_its_name() -> None:
    class Comment(Document):
        text: Column[str] = column()
        parent: Column[str | None] = column(links="Comment")

    with RedisBackend.embedded(models=[Comment]) as backend:
        comments = backend.collection(Comment)
        first = Comment(text="a")
        answer = Comment(text="b", parent=first.pk)
        comments.save_many([first, answer])
        assert comments.linked(answer, Comment.parent, Comment) == first
        assert comments.linked(first, Comment.parent) is None
        answers = comments.values(Comment.parent, Comment.parent.present())
        assert [found.text for found in comments.find(Comment.pk.in_(answers))] == ["a"]
    with pytest.raises(InvalidConfigurationError, match="the name of the class itself, not 'Other'"):

        class Lost(Document):
            parent: Column[str] = column(links="Other")


def test_annotations_need_not_be_text_nor_exist_yet() -> None:
    """As in a module without ``from __future__ import annotations``, and on Python 3.14 read late."""
    source = """
class Lazy(Document):
    title: Column[str] = column()
    find: int
    limit: ClassVar[int] = 3
    later: "Later | None" = None

class Later(Document):
    size: Column[int] = column()

class Wrong(Document):
    model_dump: int
"""
    names: dict[str, Any] = {"__name__": __name__, "ClassVar": ClassVar, "Column": Column, "Document": Document}
    with pytest.raises(InvalidConfigurationError, match=r"Wrong\.model_dump"):
        exec(compile(source, "lazy.py", "exec", dont_inherit=True), names | {"column": column}, names)
    lazy, later = names["Lazy"], names["Later"]
    lazy.model_rebuild(_types_namespace={"Later": later})
    assert list(lazy.columns()) == ["pk", "title", "stored_at", "updated_at"]
    assert lazy(title="a", find=1, later=later(size=2)).later.size == 2
    with pytest.raises(ValidationError, match="find"):
        lazy(title="a")
