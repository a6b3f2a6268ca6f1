"""Filters are taken as expressions, text, queries, lists of these, and as expressions of redis-om."""

from __future__ import annotations

from datetime import timedelta

import pytest
from redis_om import Field, JsonModel

from relay_models.documents import Plan, Run
from relay_models.errors import QueryError, UnknownColumnError, UnsupportedMethodError
from relay_models.query import as_expression


class Mirror(JsonModel, index=True):
    """A user's own redis-om model with the same names."""

    agent_id: str = Field(index=True)
    duration: int = Field(index=True)
    mine: str = Field(index=True)


def test_expressions_of_redis_om_are_taken_as_data() -> None:
    made = (Mirror.agent_id == "a|b") & ~(Mirror.duration > 5) | (Mirror.agent_id << ["x", "y"])
    assert as_expression(made, Run.columns()) == (Run.agent_id == "a|b") & ~(Run.duration > 5) | Run.agent_id.in_(
        ["x", "y"]
    )
    assert as_expression(Mirror.agent_id % "a*", Run.columns()) == Run.agent_id.like("a*")
    both = as_expression([Run.calls > 1, Mirror.agent_id == "a"], Run.columns())
    assert both == (Run.calls > 1) & (Run.agent_id == "a")
    with pytest.raises(UnknownColumnError, match="agent_id"):
        as_expression(Mirror.mine == "x", Run.columns())
    with pytest.raises(QueryError, match=r"in a list"):
        (Run.calls > 1) & (Mirror.agent_id == "a")
    with pytest.raises(QueryError, match="with our columns"):
        (Run.calls > 1) | (Mirror.agent_id == "a")
    with pytest.raises(QueryError, match=r"in a list"):
        as_expression((Mirror.agent_id == "a") & (Run.calls > 1), Run.columns())


def test_expressions_of_another_document_are_refused() -> None:
    with pytest.raises(UnknownColumnError, match="duration"):
        as_expression(Run.duration > 5, Plan.columns())
    assert as_expression(Plan.groups > 5, Plan.columns()) == (Plan.groups > 5)


def test_queries_are_values() -> None:
    query = Run.find(Run.agent_id == "a|b", "duration > 2s").order_by("-duration").limit(3)
    assert query.document is Run
    assert (query.order, query.count) == ("-duration", 3)
    meant = (Run.agent_id == "a|b") & (Run.duration > timedelta(seconds=2))
    assert as_expression(query, Run.columns()) == meant
    assert as_expression(query.find("calls > 1"), Run.columns()) == meant & (Run.calls > 1)
    assert str(query) == 'filter: (agent_id = "a|b") and (duration > 2s)\norder:  -duration\nlimit:  3'
    assert Plan.find().order_by(Plan.groups).order == "groups"
    with pytest.raises(UnsupportedMethodError, match="find_runs"):
        list(query)
