"""The steps of finding documents, in one place."""

from __future__ import annotations

from relay_models.query.paging.order import Order
from relay_models.query.paging.pager import OnCorrupt, OnIncomplete, RunPage, Scan, find_steps
from relay_models.query.tag_values import count_steps, value_steps

__all__ = ["OnCorrupt", "OnIncomplete", "Order", "RunPage", "Scan", "count_steps", "find_steps", "value_steps"]
