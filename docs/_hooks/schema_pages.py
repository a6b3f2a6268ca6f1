"""The schema reference, made from the models at build time: a page and a JSON Schema per kind, and an overview."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files as resources
from typing import Any

from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from relay_models.documents import KINDS, DocumentKind
from relay_models.schema import json_schema, kind_page, nested, overview_page, types_page

MESSAGES = "messages.md"
MESSAGES_INTRO = """What was asked of a model and what it answered, as NeMo Relay's codecs note them on a call.
These types grow with every release and every provider, so they are loose: what queries and summaries use is typed, the
rest is kept as it came."""


def on_files(files: Files, config: Any) -> Files:
    for address, content in generated().items():
        files.append(File.generated(config, address, content=content))
    return files


def generated() -> dict[str, str]:
    """Every generated file by its address."""
    values = _captured()
    messages = [model for model in nested(KINDS["run"].record) if model.__module__.endswith(".llm")]
    elsewhere: dict[type[BaseModel], str] = {model: f"{MESSAGES}#{model.__name__.lower()}" for model in messages}
    pages = {"schema/index.md": _front("Overview", "Every document, its key, its record") + overview_page(site=True)}
    for kind in KINDS.values():
        name = f"{kind.name}.schema.json"
        text = kind_page(kind, example=_example(kind, values), elsewhere=elsewhere, schema_link=name, site=True)
        pages[f"schema/{kind.name}.md"] = _front(kind.title, kind.summary) + text
        pages[f"schema/{name}"] = json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"
    text = types_page("Requests and responses", MESSAGES_INTRO, messages, site=True)
    pages[f"schema/{MESSAGES}"] = (
        _front("Requests and responses", "What was asked of a model and what it answered") + text
    )
    return pages


def _front(title: str, description: str) -> str:
    return f"---\ntitle: {json.dumps(title)}\ndescription: {json.dumps(description)}\n---\n\n"


def _captured() -> dict[str, str]:
    """The JSON text of every native key of the packaged capture."""
    data = (resources("relay_models.cli") / "data" / "demo.jsonl.gz").read_bytes()
    lines = [json.loads(line) for line in gzip.decompress(data).splitlines()]
    return {line["key"]: line["value"] for line in lines if line["type"] == "string"}


def _example(kind: DocumentKind, values: dict[str, str]) -> str:
    """A small one of a kind that still has something in it."""
    start = kind.native_key.partition("{agent_id}")[0].replace("{prefix}", "nemo_relay:")
    found = sorted((value for key, value in values.items() if key.startswith(start)), key=len)
    if not found:
        return ""
    telling = [value for value in found if _says_something(kind, json.loads(value))]
    return json.dumps(_abridged(json.loads((telling or found)[0])), indent=2, ensure_ascii=False)


def _abridged(value: Any) -> Any:
    """The same with its long lists and maps cut, and said so in the place of what is missing."""
    if isinstance(value, list):
        kept = [_abridged(item) for item in (value if len(value) <= 4 else value[:2])]
        return [*kept, f"… {len(value) - 2} more"] if len(value) > 4 else kept
    if isinstance(value, dict):
        names = list(value)
        # A record's own fields are all shown; what has numbers or paths for names is a map.
        cut = len(names) > 2 and all(name.isdigit() or "/" in name for name in names if name)
        kept = {name: _abridged(value[name]) for name in (names[:2] if cut else names)}
        return kept | {"…": f"{len(names) - 2} more"} if cut else kept
    return (
        value
        if not isinstance(value, str) or len(value) < 400
        else value[:300] + f"… {len(value) - 300} more characters"
    )


def _says_something(kind: DocumentKind, value: Any) -> bool:
    match kind.name:
        case "run":
            return any("model_name" in call for call in value["calls"]) and any(
                call["kind"] == "tool" for call in value["calls"]
            )
        case "plan":
            return bool(value["parallel_groups"])
        case _:
            return bool(value)
