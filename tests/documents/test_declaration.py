"""Columns are declared once, on the class: what follows from the declaration, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from relay_models.columns.column import Column, find_column
from relay_models.documents import Document, Run, codec_of, column, metadata
from relay_models.errors import InvalidConfigurationError, InvalidRecordError, UnknownAttributeError
from relay_models.query import as_expression
from relay_models.records import CallRecord, RunRecord


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Letter(BaseModel):
    """A record of a user."""

    mood: Mood
    urgent: bool = False
    price: Decimal | None = None
    sent: datetime
    due: date | None = None
    thread: UUID
    labels: set[str] = set()
    body: str = ""


class Letters(Document):
    """The document of a letter."""

    kind: ClassVar[str] = "letter"
    record_type: ClassVar[Any] = Letter

    agent_id: Column[str] = column("Who wrote.", value=lambda letter: "me")
    mood: Column[Mood] = column("How.", value=lambda letter: letter.mood, aliases=("how",))
    urgent: Column[bool] = column("Now.", value=lambda letter: letter.urgent)
    price: Column[Decimal | None] = column("Postage.", value=lambda letter: letter.price, unit="EUR")
    sent: Column[datetime] = column("When.", value=lambda letter: letter.sent)
    due: Column[date | None] = column("By when.", value=lambda letter: letter.due)
    thread: Column[UUID] = column("Of which.", value=lambda letter: letter.thread)
    labels: Column[set[str]] = column("Which.", value=lambda letter: letter.labels)
    body: Column[str] = column("What.", value=lambda letter: letter.body, text=True)
    record_json: str | None = None


THREAD = UUID(int=7)
LETTER = Letter(
    mood=Mood.BAD, urgent=True, price=Decimal("1.55"), sent=datetime(2026, 11, 23, 12, tzinfo=UTC),
    due=date(2026, 11, 30), thread=THREAD, labels={"b", "a"}, body="Rate limit",
)  # fmt: skip


def letters(letter: Letter = LETTER) -> Letters:
    return Letters.from_stored(Letters.column_values(letter), letter.model_dump_json())


def test_values_are_stored_and_read_as_their_types() -> None:
    assert Letters.column_values(LETTER) == {
        "agent_id": "me", "mood": "bad", "urgent": "true", "price": 1.55, "sent": 1795435200000000,
        "due": 1795996800000000, "thread": str(THREAD), "labels": ["a", "b"],
    }  # fmt: skip
    row = letters()
    assert row.mood is Mood.BAD
    assert row.urgent is True
    assert row.price == Decimal("1.55")
    assert row.due == date(2026, 11, 30)
    assert row.thread == THREAD
    assert row.labels == {"a", "b"}
    assert row.record == LETTER
    again = Letters(**row.to_dict())
    assert again.stored_values() == row.stored_values()
    bare = letters(Letter(mood=Mood.GOOD, sent=LETTER.sent, thread=THREAD))
    assert (bare.price, bare.due, bare.labels, bare.urgent) == (None, None, set(), False)


@pytest.mark.parametrize(
    ("filter", "true"),
    [
        (Letters.mood == Mood.BAD, True),
        ("how = good", False),
        (Letters.urgent == True, True),  # noqa: E712
        ("urgent = false", False),
        (Letters.price == Decimal("1.55"), True),
        ("price < 1.5", False),
        (Letters.due > date(2026, 11, 29), True),
        ("due = 2026-11-30", True),
        (Letters.thread == THREAD, True),
        (f"thread = {str(THREAD).upper()}", True),
        (Letters.labels.has_all({"a", "b"}), True),
        ('body matches "rate limit"', True),
        (Letters.body.matches("none"), False),
    ],
)
def test_expressions_take_values_of_the_annotation(filter: Any, true: bool) -> None:
    expression = as_expression(filter, Letters.columns())
    assert expression.matches(letters()) is true
    assert as_expression(str(expression), Letters.columns()) == expression


def test_a_subclass_adds_columns() -> None:
    class AcmeRun(Run):
        tenant: Column[str | None] = column(lambda run: run.agent_id.partition("/")[0])
        slowest: Column[timedelta | None] = column(lambda run: max((c.duration for c in run.calls if c.duration), default=None))  # fmt: skip  # noqa: E501

    began = datetime(2026, 1, 1, tzinfo=UTC)
    call = CallRecord(kind="tool", name="x", started_at=began, ended_at=began + timedelta(seconds=6))
    run = AcmeRun.of(RunRecord(agent_id="acme/planner", calls=[call]))
    assert (run.tenant, run.slowest, run.tool_calls) == ("acme", timedelta(seconds=6), 1)
    assert ((AcmeRun.tenant == "acme") & (AcmeRun.slowest > timedelta(seconds=5)) & (Run.calls == 1)).matches(run)
    assert repr(AcmeRun.calls) == "AcmeRun.calls"
    assert AcmeRun.row_columns[: len(Run.row_columns)] == Run.row_columns
    assert "tenant" not in Run.columns()


def test_a_value_that_cannot_be_computed_names_its_column() -> None:
    class Broken(Run):
        tenant: Column[str] = column(lambda run: run.nothing)

    with pytest.raises(InvalidRecordError, match=r"Broken\.tenant.*AttributeError: .*nothing"):
        Broken.of(RunRecord(agent_id="a"))

    class Silent(Run):
        first: Column[str] = column(lambda run: next(call.name for call in run.calls))

    with pytest.raises(InvalidRecordError, match=r"Silent\.first cannot be stored for run .*: StopIteration$"):
        Silent.of(RunRecord(agent_id="a"))


class ShopRun(Run):
    """Columns of all types, each from the metadata of a run, which JSON can hold."""

    mood: Column[Mood | None] = column(metadata("mood"))
    urgent: Column[bool | None] = column(metadata("urgent"))
    seats: Column[int | None] = column(metadata("seats"))
    share: Column[float | None] = column(metadata("share"))
    price: Column[Decimal | None] = column(metadata("price"))
    order: Column[UUID | None] = column(metadata("order"))
    due: Column[date | None] = column(metadata("due"))
    signed: Column[datetime | None] = column(metadata("signed"))
    waited: Column[timedelta | None] = column(metadata("waited"))
    teams: Column[frozenset[str]] = column(metadata("teams"))
    size: Column[Literal["s", "m"] | None] = column(metadata("size"))
    floor: Column[Annotated[int, Field(ge=0)] | None] = column(metadata("floor"))
    began: Column[datetime | None] = column(lambda run: run.started_at)


def shop_run(**values: Any) -> Any:
    return ShopRun.of(RunRecord(agent_id="a", started_at=datetime(2026, 1, 1, tzinfo=UTC), ext={"metadata": values}))


def test_values_from_metadata_become_what_the_annotation_says() -> None:
    run = shop_run(
        mood="good", urgent="no", seats="5", share=1, price="0.50", order=str(THREAD).upper(), due="2026-12-01",
        signed="2026-11-23T12:00:00+01:00", waited="PT1M", teams=["b", "a", "b"],
    )  # fmt: skip
    assert (run.mood, run.urgent, run.seats, run.share, run.order) == (Mood.GOOD, False, 5, 1.0, THREAD)
    assert (run.price, run.due, run.waited) == (Decimal("0.5"), date(2026, 12, 1), timedelta(minutes=1))
    assert (run.signed, run.teams) == (datetime(2026, 11, 23, 11, tzinfo=UTC), frozenset({"a", "b"}))
    assert run.began == datetime(2026, 1, 1, tzinfo=UTC)
    assert shop_run().mood is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mood", "no member"), ("order", "no UUID"), ("seats", 5.7), ("seats", "many"), ("urgent", "perhaps"),
        ("share", "x"), ("price", "x"), ("due", "soon"), ("signed", "then"), ("waited", "3 sec"), ("teams", "one text"),
        ("teams", ["a", 1]), ("teams", {"a": 1}), ("size", "l"), ("floor", -1),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_before_it_is_stored(name: str, value: Any) -> None:
    with pytest.raises(
        InvalidRecordError, match=rf"ShopRun\.{name} cannot be stored for run .*Input should be"
    ) as caught:
        shop_run(**{name: value})
    assert caught.value.path == name


def test_mistakes_are_errors_when_the_class_is_made() -> None:
    with pytest.raises(InvalidConfigurationError, match=r"Forgot\.tenant .*declare it by = column"):

        class Forgot(Run):
            tenant: Column[str]

    with pytest.raises(InvalidConfigurationError, match=r"Plain\.tenant .*annotate it as Column"):

        class Plain(Run):
            tenant: str = column("Whose.")

    with pytest.raises(InvalidConfigurationError, match=r"Bare\.tenant: annotate .* tenant: Column\[str\] = column"):

        class Bare(Run):
            tenant = column("Whose.")

    with pytest.raises(InvalidConfigurationError, match=r"Odd\.raw: no index has values of the type bytes; it has str"):

        class Odd(Run):
            raw: Column[bytes] = column("Bytes.")

    with pytest.raises(InvalidConfigurationError, match=r"Idle\.tenant has no value: RunSummary"):

        class Idle(Run):
            tenant: Column[str | None] = column("Whose.")

    with pytest.raises(InvalidConfigurationError, match=r"Bare\.tenant would never have a value"):

        class Bare(Run):
            tenant: str | None = None

    with pytest.raises(InvalidConfigurationError, match=r"Hiding\.record: documents use this name"):

        class Hiding(Run):
            record: Column[str | None] = column(lambda run: "x")

    with pytest.raises(InvalidConfigurationError, match=r"Short: a class has no keyword 'ttl'.*run_ttl"):

        class Short(Run, ttl=timedelta(days=1)):
            pass


def test_a_class_says_which_columns_it_has() -> None:
    with pytest.raises(UnknownAttributeError, match=r"no column 'tenant'; Run has the columns agent_id, run_id"):
        Run.tenant  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(Run, "tenant")


def test_annotations_name_what_the_function_around_a_class_defines() -> None:
    class Shade(Enum):
        RED = "red"

    namespace = int | None  # also where a variable of ours has that name

    class Paint(Document):
        shade: Column[Shade] = column()
        layers: Column[namespace] = column()  # type: ignore[valid-type]
        base: Paint | None = None

    class RedPaint(Paint):
        second: Column[list[Shade]] = column()

    paint = Paint(shade=Shade.RED, layers=2, base=Paint(shade=Shade.RED))
    assert paint.base is not None
    assert paint.base.shade is Shade.RED
    assert str(Paint.shade == Shade.RED) == 'shade = "red"'
    assert RedPaint(shade=Shade.RED, second=[Shade.RED]).second == [Shade.RED]


def test_annotations_that_name_nothing_yet_are_said() -> None:
    with pytest.raises(InvalidConfigurationError, match=r"Early.later: Column\[Later\] names a type"):

        class Early(Document):
            later: Column[Later] = column()

    class Open(Document):
        part: Later | None = None

    class Undeclared(Document):
        late: Column[Later]

    with pytest.raises(InvalidConfigurationError, match=r"names Later, which .* call Open.model_rebuild\(\)"):
        codec_of(Open)

    class Later(BaseModel):
        size: int = 0

    Open.model_rebuild()
    assert codec_of(Open).encode(Open(part=Later())).text == '{"part":{"size":0}}'
    Undeclared.model_rebuild()
    with pytest.raises(InvalidConfigurationError, match="late is annotated as Column"):
        codec_of(Undeclared)


def test_columns_are_found_by_their_short_names() -> None:
    columns = Run.columns()
    assert find_column(columns, "Agent") is Run.agent_id
    assert find_column(columns, "tokens") is Run.total_tokens
    assert find_column(columns, "nothing") is None
    shorts = [name for known in columns.values() for name in (known.name, *known.aliases)]
    assert len(shorts) == len(set(shorts))
