# Calls that must not type-check, each with the start of mypy's error code; read by test_typing.py, never run.
from __future__ import annotations

from relay_models import CallRecord, Plan, RedisBackend, RunRecord
from relay_models.query.paging.page import Page


async def wrong(backend: RedisBackend, record: RunRecord) -> None:
    await backend.find_runs(5)  # arg-type
    await backend.find_runs(order_by=5)  # arg-type
    await backend.find_runs(limit="5")  # arg-type
    await backend.find_runs(on_corrupt="ignore")  # arg-type
    await backend.find_runs(colums=True)  # call-arg
    await backend.count_runs(record)  # arg-type
    await backend.delete_runs()  # call-arg
    await backend.delete_agent("a")  # call-arg
    await backend.delete_agent("a", what="all")  # arg-type
    await backend.store_run("a")  # arg-type
    await backend.store_plan(record)  # arg-type
    await backend.load_run("a")  # call-arg
    await backend.find_artifacts("plan")  # attr-defined
    await backend.aggregate_runs(by=5)  # arg-type
    await backend.aggregate_runs(fill=3)  # arg-type
    await backend.plans.find(order_by=None, page_size=3)  # call-arg
    backend.stream_runs(corrupt=[])  # call-arg
    backend.watch_runs(since="yesterday")  # arg-type
    page: Page[Plan] = await backend.find_runs()  # assignment
    for _ in backend.stream_runs():  # attr-defined
        pass
    print((await backend.find_runs())["a"], page)  # call-overload
    CallRecord(kind="tool")  # call-arg
    RunRecord(agent_id="a", calls=5)  # arg-type
