"""Expressions as text of the filter language, which parses to the same expression."""

from __future__ import annotations

from . import expression as ast
from .expression import Expression

__all__ = ["print_expression"]


def print_expression(node: Expression) -> str:
    return repr(type(node))
