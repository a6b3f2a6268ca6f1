"""`relay-models follow` and `export`: exchange state with a live NeMo Relay deployment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from relay_models.cli.command import command
from relay_models.cli.follow_file import follow_file
from relay_models.cli.passwords import NativePasswordFile, PromptForNativePassword, native_options
from relay_models.cli.session import Session
from relay_models.cli.storing import MaxCallBytes, MaxTextLength, Prices, Redact, load_prices, make_redactor

if TYPE_CHECKING:
    from relay_models.native import FollowMetrics

__all__ = ["register", "stopped_by_signals"]

DEFAULT_NATIVE_PREFIX = "nemo_relay:"

NativePrefix = Annotated[
    str, typer.Option("--native-prefix", metavar="TEXT", help="What NeMo Relay's own keys begin with.")
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="The deployment's Redis: redis://HOST:PORT/DB, rediss:// or unix://; or an event file that grows.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""

    @command(app, "follow")
    def follow(
        session: Session,
        source: Source,
        native_prefix: NativePrefix = DEFAULT_NATIVE_PREFIX,
        poll: Annotated[float, typer.Option(min=0.01, help="Seconds between polls.")] = 0.2,
        agent: Annotated[
            str | None,
            typer.Option(
                "--agent", "-a", metavar="ID", show_default=False,
                help="The agent of runs from an event file. By default the name of their scope.",
            ),
        ] = None,
        redact: Redact = None,
        max_text_length: MaxTextLength = None,
        max_call_bytes: MaxCallBytes = None,
        prices: Prices = None,
        native_password_file: NativePasswordFile = None,
        ask_native_password: PromptForNativePassword = False,
    ) -> None:  # fmt: skip
        """Keep the store up to date with a live NeMo Relay deployment, or with an event file, until interrupted.

        It can be stopped, killed and restarted, and either server may be down for a while: nothing is lost or stored
        twice. Nothing is written to the deployment. A file may be rotated; it is read from its beginning.
        """
        redactor = make_redactor(redact, max_text_length, max_call_bytes)
        table = load_prices(prices)
        if "://" not in source:
            stopped = threading.Event()
            with stopped_by_signals(stopped.set):
                backend = session.open(must_exist=False, prices=table)
                follow_file(session, backend, source, stopped, agent_id=agent, redact=redactor, poll=poll)
            return
        from relay_models.native.sync import Follower  # lazy: start-up time

        follower = Follower(
            source,
            session.open(must_exist=False, prices=table),
            native_prefix=native_prefix,
            poll=poll,
            on_pass=_progress_printer(session),
            redact=redactor,
            **native_options(session.out, source, "SOURCE", native_password_file, ask_native_password),
        )
        with stopped_by_signals(follower.stop):
            follower.run()

    @command(app, "export")
    def export(
        session: Session,
        target: Annotated[
            str,
            typer.Argument(
                metavar="TARGET", show_default=False, help="The Redis that NeMo Relay will use: redis://HOST:PORT/DB."
            ),
        ],
        native_prefix: NativePrefix = DEFAULT_NATIVE_PREFIX,
        agent: Annotated[
            list[str] | None, typer.Option(metavar="AGENT", help="Only this agent; can be repeated.")
        ] = None,
        runs: Annotated[bool, typer.Option(help="Write the runs as well, not only what was learned.")] = True,
        keep_extensions: Annotated[
            bool,
            typer.Option(
                "--keep-extensions",
                help="Write runs with what NeMo Relay's records have no field for, such as failures and sessions.",
            ),
        ] = False,
        native_password_file: NativePasswordFile = None,
        ask_native_password: PromptForNativePassword = False,
    ) -> None:
        """Write the store's state as native keys, so that a new NeMo Relay process starts with what was learned.

        What was learned replaces what the target has; runs are added to it. Running it again changes nothing.
        """
        from relay_models.native.sync import export_native  # lazy: start-up time

        options = native_options(session.out, target, "TARGET", native_password_file, ask_native_password)
        report = export_native(
            session.open(),
            target,
            native_prefix=native_prefix,
            agents=agent,
            runs=runs,
            strip=not keep_extensions,
            **options,
        )
        if session.as_json:
            session.out.object({"runs": report.runs, "new_runs": report.new_runs, "artifacts": report.artifacts})
            return
        rows = [("runs", report.runs), *sorted(report.artifacts.items())]
        _table(session, "exported", rows)


def _table(session: Session, head: str, rows: list[tuple[str, int]]) -> None:
    from relay_models.cli.output import Column  # lazy: start-up time

    shown = [(name, f"{count:,}") for name, count in rows if count]
    if shown:
        session.out.table([Column(head, priority=9), Column("", right=True, priority=9, least=1)], shown)
    else:
        session.out.print(f"nothing {head}: everything is up to date")


def _progress_printer(session: Session) -> Callable[[FollowMetrics], None]:
    """Return a callback that prints a line for each poll that found something or failed."""
    from relay_models.cli.output import counted  # lazy: start-up time

    out = session.out
    last = (0, 0, 0, 0)

    def report(metrics: FollowMetrics) -> None:
        nonlocal last
        now = (metrics.runs, metrics.artifacts, metrics.bad, metrics.errors)
        if now == last:
            return
        runs, artifacts, bad, errors = (new - old for new, old in zip(now, last, strict=True))
        last = now
        if session.as_json:
            lag = metrics.lag_seconds
            out.line(
                {
                    "runs": runs,
                    "artifacts": artifacts,
                    "bad": bad,
                    "behind": metrics.behind,
                    "lag_seconds": lag,
                    "cache_entries": metrics.cache_entries,
                }
                | ({"error": metrics.last_error} if errors else {})
            )
        elif errors:
            out.warn(f"waiting: {metrics.last_error}")
        else:
            lag_text = "" if metrics.lag_seconds is None or not runs else f", {metrics.lag_seconds:.2f} s behind"
            skipped = counted(metrics.cache_entries, "cache entry", "cache entries")
            cached = f", {skipped} skipped" if metrics.cache_entries else ""
            unreadable = f", {bad} unreadable" if bad else ""
            out.print(f"+{counted(runs, 'run')}, +{counted(artifacts, 'artifact')}{unreadable}{lag_text}{cached}")

    return report


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Stop after the current poll at SIGTERM and at the first Ctrl-C; a second Ctrl-C ends at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
