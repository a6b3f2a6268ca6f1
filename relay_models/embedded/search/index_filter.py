"""`passes`: FT.CREATE's FILTER, which documents under an index's prefixes it indexes."""

from __future__ import annotations

from typing import Any

from relay_models.embedded.search.aggregate.expressions import parse_expression
from relay_models.embedded.search.aggregate.functions import truth
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.index.documents import Value, from_json
from relay_models.embedded.search.index.field_paths import getter
from relay_models.embedded.search.index.schema import IndexSpec

__all__ = ["passes"]


def passes(spec: IndexSpec, key: bytes, document: Any) -> bool:
    """Whether a document passes the index's filter. One for which the filter fails does not."""
    assert spec.filter is not None
    expression = parse_expression(spec.filter)
    row: dict[bytes, Value] = {}
    for name in expression.properties:
        if name == b"__key":
            row[name] = key
            continue
        field = spec.field(name)
        path = name if field is None else field.path
        if spec.kind == "hash":
            if path in document:
                row[name] = document[path]
            continue
        found = getter(path)(document) if path.startswith(b"$") else []
        if found:
            row[name] = from_json(found[0])
    try:
        return truth(expression.evaluate(row))
    except SearchError:
        return False
