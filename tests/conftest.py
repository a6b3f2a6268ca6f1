"""What every test may use: the captured keys of a real NeMo Relay deployment, and the URL of a real server."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def _own_server(variable: str, separator: str = ",") -> str | None:
    """The real server of this process: each worker of pytest-xdist has one of those that the variable names."""
    # Workers inherit the environment of the first process, where the variable names one of them already.
    urls = os.environ.setdefault(f"{variable}_ALL", os.environ.get(variable, "")).split(separator)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    if urls == [""]:
        return None
    if worker >= len(urls):
        raise pytest.UsageError(
            f"{variable} names {len(urls)} server(s), and tests that share one disturb each other: "
            f"name one per worker, separated by {separator!r}, or run with fewer workers (-n)"
        )
    os.environ[variable] = urls[worker]
    return urls[worker]


REAL_URL = _own_server("RELAY_MODELS_TEST_REDIS_URL")
# How stores on that server are opened where it is not by its own URL, such as through its sentinels.
STORE_URL = _own_server("RELAY_MODELS_TEST_STORE_URL", ";") or REAL_URL
CLUSTER_URL = os.environ.get("RELAY_MODELS_TEST_CLUSTER_URL")
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def capture_path() -> Path:
    """The capture file: one JSON object a line, `key`, `type` (string or list) and `value`."""
    return DATA / "capture.jsonl.gz"


@pytest.fixture(scope="session")
def capture(capture_path: Path) -> list[dict[str, Any]]:
    """The lines of the capture."""
    with gzip.open(capture_path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def real_redis_url() -> str:
    """The URL of a real server with JSON and search; tests that take it are only there where one is named."""
    assert REAL_URL is not None
    return REAL_URL


@pytest.fixture(scope="session")
def real_store_url(real_redis_url: str) -> str:
    """The URL by which stores on the real server are opened: its own, or that of its sentinels."""
    return STORE_URL or real_redis_url


def pytest_configure() -> None:
    """Let tests and the processes that they start hear Ctrl-C, which what runs in the background may ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say which server the tests run against, beside the embedded engine."""
    if not REAL_URL:
        return "real server: none (RELAY_MODELS_TEST_REDIS_URL names a disposable Redis 8)"
    return f"real server: named, stores are opened by {str(STORE_URL).partition(':')[0]}://"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a real server, leave out the tests that are about one; the others run the same cases embedded."""
    out: list[pytest.Item] = []
    if not REAL_URL:
        out += [item for item in items if item.get_closest_marker("real_server") or "real_redis_url" in _fixtures(item)]
    if not CLUSTER_URL:
        out += [item for item in items if item.get_closest_marker("real_cluster")]
    if not out:
        return
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in set(out)]


_exit_status = 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """Remember how the tests went, for `pytest_unconfigure`."""
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End the process at once where NeMo Relay is loaded: it may crash while the interpreter shuts down."""
    if "nemo_relay" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_exit_status)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI everything is installed, so nothing may be skipped."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])
