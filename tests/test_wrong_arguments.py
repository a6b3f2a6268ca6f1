"""Arguments of the wrong type, out of range or unknown are refused with an error of ours, by every public function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from relay_models import (
    Column,
    Document,
    PredictionTrieNode,
    RedisBackend as AsyncBackend,
    Run,
    RunRecord,
    StabilityAnalysisResult,
    Timestamp,
    TrieEnvelope,
    column,
    metadata,
)
from relay_models.embedded import EmbeddedError, EmbeddedServer, dump, restore, serving_in_thread
from relay_models.errors import InvalidConfigurationError, InvalidRecordError, NotAwaitedError, RelayModelsError
from relay_models.export import to_dicts, write_csv, write_jsonl, write_parquet
from relay_models.mcp import serve_mcp
from relay_models.pictures import BarChart, StabilityBar, Timeline, TrieTree
from relay_models.receiver import SpanStore, make_app
from relay_models.recorder import RecorderPlugin, ThreadedRecorder
from relay_models.records import from_json, strip_extensions, to_json
from relay_models.records.prices import PriceTable
from relay_models.records.redact import Redactor
from relay_models.sync import RedisBackend
from relay_models.trajectories import (
    FileFollower,
    FileImport,
    RunBuilder,
    RunReader,
    from_protobuf,
    read_runs,
    recognize_source,
    runs_from_atif,
    to_atif,
    to_otlp,
    to_protobuf,
)
from relay_models.web import serve_web
from tests.backend.stores import make_run

# No message is nearly as long as the value that is wrong (characters).
LONG = 20_000
WRONG: list[Any] = [
    *(None, "", "x", "x" * LONG, "\ud800", "\0", b"", b"\xff", bytearray(b"x"), memoryview(b"x")),
    *(0, -1, 10**30, 10**5000, 1.5, math.nan, math.inf, True, 1j, object()),
    *([], {}, set(), ["\ud800"], [None], {1: 2}, {"a": None}, range(3)),
    *(UUID(int=0), timedelta(-1), date(2026, 1, 1), datetime(2026, 1, 1), datetime(1, 1, 1, tzinfo=UTC)),  # noqa: DTZ001
]
RUN = make_run("a", 1)
TRIE = TrieEnvelope(workflow_name="a", root=PredictionTrieNode(name="root"))
STABILITY = StabilityAnalysisResult(scores=[], stable_prefix_length=0, total_observations=0)


def follow(path: Any) -> None:
    follower = FileFollower(path)
    list(follower.poll())
    follower.close()


def listen(backend: RedisBackend, **options: Any) -> None:
    """Serve the page until it could be opened."""

    def stop(url: str) -> None:
        raise ConnectionAbortedError

    serve_web(backend, **{"port": 0, "ready": stop, **options})


class Known:
    """A function with valid arguments, and those of its parameters that are to be wrong."""

    def __init__(self, function: Callable[..., Any], *wrong: str, **valid: Any) -> None:
        self.function = function
        self.wrong = wrong
        self.valid = valid

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


FUNCTIONS = [
    Known(FileFollower, "path", "max_line_bytes", path="f"),
    Known(follow, "path"),
    Known(FileImport().read, "sources", "progress", sources=[]),
    Known(FileImport().take, "results"),
    Known(FileImport().refuse, "run_id", "reason", run_id="x", reason="x"),
    Known(RunReader().line, "line"),
    Known(RunBuilder().process, "event"),
    Known(read_runs, "source", "progress", source=["{}"]),
    Known(recognize_source, "source"),
    Known(runs_from_atif, "document"),
    Known(to_atif, "run", "sub_runs", run=RUN),
    Known(to_otlp, "runs", "convention", "service", runs=[RUN]),
    Known(to_protobuf, "request"),
    Known(from_protobuf, "data"),
    Known(to_dicts, "runs", "rows", "columns", runs=[RUN]),
    Known(write_csv, "path", "rows", "columns", "mode", runs=[RUN], path="out"),
    Known(write_jsonl, "path", "rows", "columns", "mode", runs=[RUN], path="out"),
    Known(write_parquet, "path", "rows", "columns", "mode", runs=[RUN], path="out"),
    Known(from_json, "kind", "data", kind=RunRecord, data=b"{}"),
    Known(to_json, "record"),
    Known(strip_extensions, "run"),
    Known(Timestamp, "value"),
    Known(Timestamp.from_nanoseconds, "nanoseconds"),
    Known(PriceTable, "prices"),
    Known(PriceTable.load, "path"),
    Known(PriceTable([]).estimate, "call"),
    Known(PriceTable([]).estimate_run, "run"),
    Known(PriceTable([]).find, "model", "provider", "day", model="m", day=date(2026, 1, 1)),
    Known(Redactor().apply, "runs"),
    Known(metadata, "name"),
    Known(Timeline(RUN).svg, "width"),
    Known(Timeline(RUN).text, "width"),
    Known(Timeline(RUN).save, "path", "width", path="out.svg"),
    Known(TrieTree, "trie"),
    Known(TrieTree(TRIE).html, "width"),
    Known(StabilityBar(STABILITY).svg, "width"),
    Known(BarChart, "rows", "title", rows=[]),
    Known(BarChart([]).svg, "width"),
    Known(ThreadedRecorder, "backend", "flush_timeout", "redact", backend=list),
    Known(RecorderPlugin().validate, "plugin_config"),
    Known(EmbeddedServer, "path", "sync", "clock"),
]


def refuse_or_do(known: Known, name: str) -> None:
    """Call the function with each wrong value; what the operating system refuses is its own error."""
    for value in WRONG:
        said = ""
        try:
            result = known.function(**{**known.valid, name: value})
            if inspect.isgenerator(result):
                list(islice(result, 5))
            elif isinstance(result, EmbeddedServer):
                result.close()
        except RelayModelsError as error:
            said = str(error)
        except (EmbeddedError, OSError):
            pass
        assert len(said) < LONG / 4


@pytest.mark.parametrize(
    ("known", "name"), [pytest.param(known, name, id=f"{known}-{name}") for known in FUNCTIONS for name in known.wrong]
)
def test_only_our_errors(known: Known, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refuse_or_do(known, name)


@pytest.fixture(scope="module")
def backend() -> Iterator[RedisBackend]:
    with RedisBackend.embedded() as made:
        yield made


@pytest.mark.parametrize("name", ["host", "port", "ready", "password"])
def test_only_our_errors_where_the_page_listens(backend: RedisBackend, name: str) -> None:
    refuse_or_do(Known(listen, backend=backend), name)


def test_only_our_errors_for_a_token() -> None:
    spans = SpanStore(object())  # type: ignore[arg-type]
    refuse_or_do(Known(make_app, spans=spans), "token")


def test_a_port_of_the_mcp_server_is_checked(backend: RedisBackend) -> None:
    for port in (-1, 65_536, "x", None, 1.5):
        with pytest.raises(RelayModelsError, match="port is a whole number from 0 to 65535"):
            serve_mcp(backend, http=True, port=port)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["host", "port", "password"])
def test_only_errors_of_the_engine_where_it_listens(name: str) -> None:
    def serve(**options: Any) -> None:
        with EmbeddedServer() as server, serving_in_thread(server, **options):
            pass

    refuse_or_do(Known(serve), name)


def test_only_errors_of_the_engine_for_dumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with EmbeddedServer() as server, server.client() as client:
        dump(client, "good")
        for name in ("client", "target", "match"):
            refuse_or_do(Known(dump, client=client, target="other"), name)
        for name in ("client", "source"):
            refuse_or_do(Known(restore, client=client, source="good"), name)


def test_messages_can_be_written_and_are_short() -> None:
    for wrong in ("\ud800", "x" * 100_000):
        with pytest.raises(RelayModelsError) as caught:
            to_otlp([RUN], wrong)
        assert len(str(caught.value).encode()) < 400
    with pytest.raises(InvalidRecordError, match="a trajectory is a JSON object"):
        runs_from_atif([])  # type: ignore[arg-type]


def test_messages_quote_values_in_bounded_length(backend: RedisBackend) -> None:
    long = "x" * 1_000_000
    calls: list[Callable[[], Any]] = [
        lambda: backend.find_runs(f"agent_{long} = 1"),
        lambda: backend.find_runs(f"agent = {long} )"),
        lambda: backend.find_runs(f"started > {long}"),
        lambda: backend.find_runs(f"duration > {long}"),
        lambda: backend.find_runs(order_by=long),
        lambda: backend.find_runs(after=long),
        lambda: backend.aggregate_runs(by=long),
        lambda: backend.aggregate_runs(metrics=[long]),
        lambda: backend.aggregate_runs(every=long),
        lambda: backend.aggregate_runs(every="1d", tz=long),
        lambda: backend.runs.document.agent_id == [long],
        lambda: backend.runs.document.duration > long,
        lambda: backend.runs.label(RUN, scores={"a": long}),  # type: ignore[dict-item]
        lambda: backend.runs.label(RUN, scores={long: 1}),
        lambda: backend.runs.label((long, RUN.id), tags={"a"}),
        lambda: backend.delete_agent("a", what=long),  # type: ignore[arg-type]
        lambda: backend.saved.get(long),
        lambda: RedisBackend.embedded(key_prefix=f"{long}\0"),
        lambda: RedisBackend.connect(f"{long}://host"),
        lambda: list(backend.watch_runs(since=long)),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(RelayModelsError) as caught:
            call()
        assert len(str(caught.value)) < 5_000


def test_a_misspelt_choice_is_not_taken_for_the_other(backend: RedisBackend) -> None:
    calls: list[tuple[str, Callable[..., Any]]] = [
        *((name, backend.find_runs) for name in ("on_corrupt", "on_incomplete")),
        *((name, backend.aggregate_runs) for name in ("on_corrupt", "on_incomplete")),
        ("on_corrupt", backend.stream_runs),
        ("on_corrupt", lambda **options: backend.list_runs("a", **options)),
        ("on_corrupt", lambda **options: backend.iter_runs("a", **options)),
        ("on_corrupt", backend.saved.all),
        ("on_refused", lambda **options: backend.store_runs([], **options)),
        ("on_missing", lambda **options: backend.runs.label_many([], tags=["t"], **options)),
    ]
    for name, call in calls:
        for wrong in ("Raise", "", None, True, ["raise"]):
            with pytest.raises(InvalidConfigurationError, match=f"{name} is 'raise' or "):
                call(**{name: wrong})


class Ticket(Document, key=("shop", "number")):
    shop: Column[str] = column()
    number: Column[int] = column()
    due: Column[date | None] = column()


class Reply(Document):
    ticket: Column[str] = column(links=Ticket)
    words: Column[int] = column(default=0)


TICKET = Ticket(shop="a", number=1)
RUN_ID = str(UUID(int=7))
# Mistakes, each with what its message names.
MISTAKES: dict[str, tuple[Callable[[RedisBackend], Any], str]] = {
    "delete by an id": (lambda b: b.collection(Ticket).delete(TICKET.pk), r"'a:1' is no filter; delete_one\(id\)"),
    "delete by a key": (lambda b: b.collection(Ticket).delete(("a", 1)), r"\('a', 1\) is no filter; delete_one"),
    "delete an item": (lambda b: b.collection(Ticket).delete(TICKET), "is no filter; delete_one"),
    "delete a run": (lambda b: b.runs.delete(RUN_ID), r"is no filter; backend\.delete_run\(agent_id, run_id\)"),
    "delete runs by a UUID": (lambda b: b.delete_runs(UUID(RUN_ID)), r"is no filter; backend\.delete_run"),
    "delete a plan": (lambda b: b.plans.delete("planner"), r"is no filter; backend\.delete_plan"),
    "label by an id": (lambda b: b.runs.label_where(RUN_ID, tags={"x"}), r"is no filter; label\(run, …\)"),
    "label everything": (lambda b: b.runs.label_where(None, tags={"x"}), "no filter would mean everything"),
    "scores as a list": (lambda b: b.runs.label(RUN_ID, scores=[("x", 1)]), "scores is a number by name"),  # type: ignore[typeddict-item]
    "get many by one": (lambda b: b.collection(Ticket).get_many(TICKET.pk), r"get_many takes several.*get\(id\)"),
    "delete many by one": (lambda b: b.collection(Ticket).delete_many(TICKET), r"takes several.*delete_one"),
    "save many of one": (lambda b: b.collection(Ticket).save_many(TICKET), r"takes several.*save\(item\)"),  # type: ignore[arg-type]
    "half of a key": (lambda b: b.collection(Ticket).get(("a",)), r"a Ticket is \(shop, number\), in this order"),
    "a key for a pk": (lambda b: b.collection(Reply).get(("a", 1)), "the id of a Reply is its pk"),
    "expect an id": (lambda b: b.collection(Ticket).update(TICKET, due=None, expect="a:1"), "expect is the Ticket"),  # type: ignore[arg-type]
    "update by a list": (lambda b: b.collection(Ticket).update(TICKET, ["due"]), "new values by field"),  # type: ignore[arg-type]
    "update what is not stored": (lambda b: b.collection(Ticket).update(TICKET, due=None), "no Ticket 'a:1'"),
    "one of one": (
        lambda b: b.collection(Ticket).find(Ticket.number.in_(5)),
        r"in_ takes several values: in_\(\[5",
    ),  # type: ignore[arg-type]
    "a column of a bound model": (lambda b: b.bind(Ticket).number, r"columns are of the class, Ticket\.number"),  # type: ignore[attr-defined]
    "a method of redis-om's": (lambda b: b.bind(Ticket).all_pks(), r"has no 'all_pks': see \.collection"),  # type: ignore[attr-defined]
    "no path": (lambda b: RedisBackend.embedded(5), "path is the path of a file, not 5"),  # type: ignore[arg-type]
    "the name of a link": (lambda b: b.collection(Reply).linked(Reply(ticket="a:1"), "ticket"), r"pass Reply\.ticket"),
    "group by instants": (
        lambda b: b.collection(Ticket).aggregate("stored_at", metrics="count"),
        "every='1d' with time='stored_at'",
    ),
    "a collection of runs": (lambda b: b.collection(Run), r"Run is a class of runs: use backend\.runs"),
    "nothing stored": (lambda b: b.collection(Ticket).save_many([None]), r"record 0: this collection holds Ticket"),  # type: ignore[list-item]
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_what_to_do_instead(backend: RedisBackend, mistake: str) -> None:
    make, message = MISTAKES[mistake]
    with pytest.raises(RelayModelsError, match=message):
        make(backend)


async def test_a_backend_that_is_not_awaited_says_so() -> None:
    opening = AsyncBackend.embedded()
    assert not hasattr(opening, "runs")
    with pytest.raises(NotAwaitedError, match="no 'count_runs' before the backend is open: await it"):
        opening.count_runs()  # type: ignore[attr-defined]
    async with opening as backend:
        assert await backend.count_runs() == 0
