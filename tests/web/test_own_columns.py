"""A store whose runs have columns of the application's own: every page knows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from enum import Enum, IntEnum
from html import unescape

import pytest
from mcp import Client
from starlette.testclient import TestClient

from relay_models import Column, Run, RunRecord, column, metadata
from relay_models.mcp import create_server
from relay_models.sync import RedisBackend
from relay_models.web import create_app


class TenantRun(Run):
    """Runs of tenants."""

    tenant: Column[str | None] = column("Whose run it is.", value=metadata("tenant"), heading="whose")


class Plan(Enum):
    FREE = "free of charge"
    PAID = "paid"


class Level(IntEnum):
    LOW = 1
    HIGH = 20


class Grade(Enum):
    GOOD = 3
    POOR = 10


class BilledRun(Run):
    """Runs with a column of each type that runs are grouped by."""

    plan: Column[Plan | None] = column("The customer's plan.", value=metadata("plan"))
    level: Column[Level | None] = column("How urgent it is.", value=metadata("level"))
    grade: Column[Grade | None] = column("How good it was.", value=metadata("grade"))
    is_test: Column[bool | None] = column("Whether it is a test.", value=metadata("is_test"))
    due: Column[date | None] = column("When it is due.", value=metadata("due"))
    tries: Column[int | None] = column("How often it was tried.", value=metadata("tries"))


BILLED = (
    {"plan": "free of charge", "level": 20, "grade": 10, "is_test": True, "due": "2026-11-23", "tries": 9},
    {"plan": "paid", "level": 1, "grade": 3, "is_test": False, "due": "2026-12-01", "tries": 1_000},
    {},
)


@pytest.fixture
def backend() -> Iterator[RedisBackend]:
    with RedisBackend.embedded(models=[TenantRun]) as backend:
        for tenant in ("acme", "globex"):
            backend.store_run(RunRecord(agent_id="planner", ext={"metadata": {"tenant": tenant}}))
        yield backend


def test_pages_filter_show_export_group_and_save_them(backend: RedisBackend) -> None:
    client = TestClient(create_app(backend), base_url="http://localhost", follow_redirects=False)
    page = client.get("/runs?filter=tenant+%3D+acme&columns=tenant&order=-tenant").text
    assert page.count("data-row=") == 1
    assert ">whose" in page
    assert client.get("/runs/export?columns=tenant&order=tenant").text.split() == ["tenant", "acme", "globex"]
    assert "globex" in client.get("/numbers?filter=all&by=tenant").text
    assert client.get("/runs/complete.json?column=tenant").json() == ["acme", "globex"]
    (token,) = set(re.findall(r'name="token" value="([^"]+)"', page))
    form = {"token": token, "name": "acme", "filter": "tenant = acme", "columns": "tenant", "order": "-tenant"}
    assert client.post("/saved/save", data=form).status_code == 303
    assert "tenant" in client.get("/runs?saved=acme").headers["location"]
    run = backend.runs.find("tenant = acme")[0]
    assert "Whose run it is." in client.get(f"/runs/{run.run_id}").text
    assert client.get(f"/compare?run={run.run_id}&run={run.run_id}").text.count("acme") >= 2


@pytest.mark.parametrize("most_exact", [2_000, 3])
@pytest.mark.parametrize("name", list(BILLED[0]))
def test_groups_of_every_type_lead_to_their_runs(name: str, most_exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of few runs, and of many with groups that are read together and one by one.
    monkeypatch.setattr("relay_models.web.numbers.MOST_EXACT", most_exact)
    monkeypatch.setattr("relay_models.web.numbers.MOST_GROUPS", 2)
    with RedisBackend.embedded(models=[BilledRun]) as backend:
        for number, known in enumerate(BILLED):
            for _ in range(4 - number):
                backend.store_run(RunRecord(agent_id="planner", ext={"metadata": dict(known)}))
        client = TestClient(create_app(backend), base_url="http://localhost")
        page = client.get(f"/numbers?filter=all&by={name}").text
        assert "the 2 with the most runs" in page
        rows = re.findall(r'<th scope="row"><a href="([^"]+)">([^<]*)</a></th><td class="num">(\d+)<', page)
        groups = rows[-2:]
        assert sorted(count for _, _, count in groups) == ["3", "4"]
        for link, _, count in groups:
            assert client.get(unescape(link)).text.count("data-row=") == int(count)
        chart = re.findall(r"<svg.*?</svg>", page, re.DOTALL)[-1]
        assert all(f">{label}<" in chart for _, label, _ in groups)
        if name in ("level", "grade", "due", "tries"):
            # What has an order is shown in it.
            values = [known[name] for known in BILLED[:2]]
            counts = [count for _, count in sorted(zip(values, "43", strict=True))]
            assert [count for _, _, count in groups] == counts


async def test_the_mcp_server_knows_them(backend: RedisBackend) -> None:
    async with Client(create_server(backend)) as client:
        found = await client.call_tool("find_runs", {"filter": "tenant = acme", "columns": ["tenant"]})
        listed = await client.call_tool("list_columns", {})
    answer = json.loads(found.content[0].text)  # type: ignore[union-attr]
    assert [run["tenant"] for run in answer["runs"]] == ["acme"]
    names = [each["name"] for each in json.loads(listed.content[0].text)["columns"]]  # type: ignore[union-attr]
    assert "tenant" in names
