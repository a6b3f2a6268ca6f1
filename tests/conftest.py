"""What every test may use: the captured keys of a real NeMo Relay deployment, and the URL of a real server."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

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
    """The URL of a real server with JSON and search, or a skip with its reason."""
    url = os.environ.get("RELAY_MODELS_TEST_REDIS_URL")
    if not url:
        pytest.skip("set RELAY_MODELS_TEST_REDIS_URL to a disposable Redis 8 to run this against a real server")
    return url
