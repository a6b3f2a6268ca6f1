"""Classes that are their own records: what is declared, and what is refused when the class is created."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from relay_models import Column, Document, Run, column
from relay_models.documents import Keys, codec_of
from relay_models.documents.schema import own_layout
from relay_models.errors import InvalidConfigurationError, UnsupportedMethodError


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
    assert list(Note.columns()) == ["pk", "slug", "size", "stored_at", "updated_at"]
    assert Note.kind == "model:note"
    assert made("UserFeedback").kind == "model:user_feedback"
    assert made(name="Other", annotation=Column[str]).kind == "model:other"
    first, second = made()(text="x"), made()(text="x")
    assert UUID(first.pk).version == 7
    assert first.pk < second.pk


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
    ],
)
def test_names_that_mean_something_else_are_refused(field: str) -> None:
    with pytest.raises(InvalidConfigurationError, match=field):
        made(field=field)


def test_settings_that_cannot_work_are_refused() -> None:
    for options in ({"key": "nothing"}, {"ttl": 5}, {"ttl": timedelta(0)}):
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
