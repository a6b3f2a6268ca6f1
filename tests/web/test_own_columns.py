"""A store whose runs have columns of the application's own: every page knows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

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


async def test_the_mcp_server_knows_them(backend: RedisBackend) -> None:
    async with Client(create_server(backend)) as client:
        found = await client.call_tool("find_runs", {"filter": "tenant = acme", "columns": ["tenant"]})
        listed = await client.call_tool("list_columns", {})
    answer = json.loads(found.content[0].text)  # type: ignore[union-attr]
    assert [run["tenant"] for run in answer["runs"]] == ["acme"]
    names = [each["name"] for each in json.loads(listed.content[0].text)["columns"]]  # type: ignore[union-attr]
    assert "tenant" in names
