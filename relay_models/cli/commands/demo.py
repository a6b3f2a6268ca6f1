"""`relay-models demo`: import a captured deployment into an embedded store and query it; no server needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relay_models.cli.command import command
from relay_models.cli.import_capture import PLURALS
from relay_models.cli.session import Session

if TYPE_CHECKING:
    from relay_models.cli.output import Output
    from relay_models.records import RunRecord
    from relay_models.sync import RedisBackend

__all__ = ["register"]

QUERY = 'tools = "search" and llm_calls >= 2 and not status = running'
METRICS = ("count", "avg(duration)", "p95(duration)", "sum(total_tokens)")


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @command(app, "demo")
    def demo(
        session: Session,
        web: Annotated[
            bool,
            typer.Option("--web", help="Look at it in a browser, as runs of the last two days with made-up failures."),
        ] = False,
        port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="The port of --web.")] = 8080,
    ) -> None:
        """Try it: import a small real capture into an embedded store and query it.

        The store is in memory and gone afterwards, unless --path or --url names one to keep.
        """
        from importlib.resources import as_file, files  # lazy: start-up time

        from relay_models.cli.capture import open_capture  # lazy: start-up time
        from relay_models.cli.import_capture import import_capture  # lazy: start-up time

        if web:
            from relay_models.web import serve_web  # noqa: F401  lazy: start-up time; an error before anything is stored

        backend = _store(session)
        began = time.perf_counter()
        with as_file(files("relay_models.cli") / "data" / "demo.jsonl.gz") as path, open_capture(str(path)) as capture:
            done = import_capture(backend, capture, "demo")
        took = time.perf_counter() - began
        if web:
            from datetime import UTC, datetime  # lazy: start-up time

            from relay_models.cli.commands.web import serve_page  # lazy: start-up time
            from relay_models.cli.demo_data import as_of_now  # lazy: start-up time

            as_of_now(backend, datetime.now(UTC))
            session.out.note(
                "the runs are captured ones, moved to the last two days and slowed down; their failures, sessions, "
                "tool input and output and labels are made up"
            )
            serve_page(session, "127.0.0.1", port, None, False)
        elif session.as_json:
            session.out.object(_answers(session, done.counts))
        else:
            _tour(session, done.counts, took)


def _store(session: Session) -> RedisBackend:
    from relay_models.errors import InvalidConfigurationError  # lazy: start-up time

    try:
        session.where()
    except InvalidConfigurationError:
        return session.memory()
    return session.open(must_exist=False)


def _answers(session: Session, counts: dict[str, int]) -> dict[str, Any]:
    """What the tour shows, as JSON values."""
    from relay_models.cli.aggregate_tables import stats_rows  # lazy: start-up time
    from relay_models.cli.commands.agents import agent_rows  # lazy: start-up time
    from relay_models.cli.run_selection import each_run, make_filter  # lazy: start-up time
    from relay_models.export import to_dicts  # lazy: start-up time

    backend = session.backend
    return {
        "imported": {PLURALS[kind].replace(" ", "_"): count for kind, count in counts.items()},
        "agents": agent_rows(backend),
        "newest": to_dicts(each_run(session, None, "-started_at", 8)),
        "query": {
            "where": QUERY,
            "runs": to_dicts(each_run(session, make_filter(session, QUERY, None), "-duration", 5)),
        },
        "summary": stats_rows(backend.aggregate_runs(by=["models"], metrics=list(METRICS))),
    }


def _tour(session: Session, counts: dict[str, int], took: float) -> None:
    from relay_models.cli.aggregate_tables import show_stats  # lazy: start-up time
    from relay_models.cli.commands.agents import agent_rows, show_agents  # lazy: start-up time
    from relay_models.cli.run_selection import each_run, make_filter  # lazy: start-up time
    from relay_models.cli.run_tables import show_runs  # lazy: start-up time
    from relay_models.pictures import Timeline  # lazy: start-up time

    out, backend = session.out, session.backend
    kinds = ", ".join(f"{count} {PLURALS[kind]}" for kind, count in counts.items() if count)
    out.print(f"Imported {kinds}, captured from a NeMo Relay deployment, in {took:.1f} s.")
    _head(out, "Agents", "relay-models agents")
    show_agents(out, agent_rows(backend))
    _head(out, "Newest runs", "relay-models runs list --limit 8")
    show_runs(out, list(each_run(session, None, "-started_at", 8)))
    _head(out, "A question", f"relay-models runs list --where '{QUERY}' --order -duration")
    found = list(each_run(session, make_filter(session, QUERY, None), "-duration", 5))
    show_runs(out, found)
    _head(out, "By model", "relay-models runs stats --by models")
    show_stats(session, backend.aggregate_runs(by=["models"], metrics=list(METRICS)))
    record = _busiest(backend)
    _head(out, "A run", f"relay-models runs show {record.id} --timeline")
    out.console.print(Timeline(record), width=out.page_width)
    if session.is_in_memory:
        out.print("")
        out.print("To try these yourself: relay-models demo --path demo.db, then each with --path demo.db")


def _head(out: Output, title: str, told: str) -> None:
    from rich.text import Text  # lazy: start-up time

    out.print("")
    out.console.print(Text.assemble((title, "bold"), "  ", (f"$ {told}", "bright_black")), soft_wrap=True)


def _busiest(backend: RedisBackend) -> RunRecord:
    """The run with the most calls."""
    runs: list[Any] = list(backend.find_runs(None, order_by="-calls", limit=1))
    record: RunRecord = runs[0].record
    return record
