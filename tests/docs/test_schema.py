"""The schema reference: every field is described, and the schemas accept what NeMo Relay wrote."""

from __future__ import annotations

import builtins
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel

from relay_models import errors
from relay_models.documents import KINDS, DocumentKind, find_kind
from relay_models.schema import (
    column_rows,
    document_rows,
    field_rows,
    json_schema,
    kind_page,
    nested,
    overview_page,
)

MODELS = list(dict.fromkeys(model for kind in KINDS.values() for model in nested(kind.record)))
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_of_a_record_is_described(model: type[BaseModel]) -> None:
    assert (model.__doc__ or "").strip(), f"{model.__name__} has no docstring"
    missing = [row.name for row in field_rows(model) if len(row.meaning) < 8]
    assert not missing, f"no description: {', '.join(missing)}"


@kinds
def test_every_column_is_described(kind: DocumentKind) -> None:
    missing = [row.name for row in document_rows(kind) if len(row.meaning) < 8]
    assert not missing, f"{kind.document.__name__} has no description for {', '.join(missing)}"


@kinds
def test_what_nemo_relay_wrote_is_valid(kind: DocumentKind, capture: list[dict[str, Any]]) -> None:
    start = kind.native_key.partition("{agent_id}")[0].replace("{prefix}", "nemo_relay:")
    validator = jsonschema.Draft202012Validator(json_schema(kind))
    jsonschema.Draft202012Validator.check_schema(json_schema(kind))
    values = [
        json.loads(line["value"]) for line in capture if line["key"].startswith(start) and line["type"] == "string"
    ]
    assert values
    for value in values:
        faults = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]
        assert not faults, faults


@kinds
def test_a_schema_refuses_what_is_wrong(kind: DocumentKind) -> None:
    validator = jsonschema.Draft202012Validator(json_schema(kind))
    assert not validator.is_valid("text")
    assert not validator.is_valid([{}] if kind.is_list else {})


@kinds
def test_schemas_describe_every_field(kind: DocumentKind) -> None:
    def properties(node: Any) -> Any:
        if isinstance(node, dict):
            yield from node.get("properties", {}).items()
            for child in node.values():
                yield from properties(child)
        elif isinstance(node, list):
            for child in node:
                yield from properties(child)

    bare = [
        name
        for name, schema in properties(json_schema(kind))
        if isinstance(schema, dict) and "description" not in schema
    ]
    assert not bare


@kinds
def test_a_page_names_everything(kind: DocumentKind) -> None:
    page = kind_page(kind)
    for row in column_rows(kind):
        assert f"| `{row.name}` |" in page
    for model in nested(kind.record):
        assert f"### {model.__name__}\n" in page
    assert kind.key in page
    assert "FT.CREATE" in page
    assert "](" not in page, "a page outside the site links nowhere"


def test_the_overview_names_every_key() -> None:
    page = overview_page()
    for kind in KINDS.values():
        assert f"`{kind.key}`" in page
        assert f"`{kind.native_key}`" in page


def test_kinds_are_found_by_any_of_their_names() -> None:
    assert find_kind("run") is find_kind("RunRecord") is find_kind("Run") is KINDS["run"]
    assert find_kind("PromptIR") is KINDS["observations"]
    with pytest.raises(errors.NotFoundError, match="observations"):
        find_kind("walk")


def test_the_drawn_tree_of_exceptions_is_the_real_one() -> None:
    drawn: dict[str, tuple[str, str]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ├└─]*)(\w+Error)(?: \((\w+)\))?", line)
        if found:
            path[len(found[1]) // 4 :] = [found[2]]
            drawn[found[2]] = (path[-2] if len(path) > 1 else "Exception", found[3] or "Exception")
    assert set(drawn) == set(errors.__all__)
    for name, (parent, builtin) in drawn.items():
        error = getattr(errors, name)
        assert error.__bases__[0].__name__ == parent
        assert issubclass(error, getattr(builtins, builtin))


def test_the_guide_on_errors_has_every_one() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "errors.md").read_text(encoding="utf-8")
    missing = [name for name in errors.__all__ if f"`{name}`" not in guide]
    assert not missing
