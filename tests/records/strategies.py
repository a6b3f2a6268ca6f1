"""Hypothesis strategies for the JSON values of every wire type, with unknown fields at every level.

Each strategy gives plain JSON values (dicts, lists), as NeMo Relay might write them; `records(kind)` gives the
models made from them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from relay_models import records as r

# What JSON text in UTF-8 can hold: everything but lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "a:b::c", "a|b", "{x}", "*", "NaN", "-Infinity", "数据", "🚀", 'quo"te\\', "line\nbreak", "\x00", "null"]
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1) | st.sampled_from([2**53 + 1, 2**63, 2**64 - 1])
f64 = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0, 1)
uuids = st.uuids().map(str)
json_scalars = st.none() | st.booleans() | f64 | st.integers(-(10**40), 10**40) | texts
json_values = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)

_FIELD_NAMES = {name for kind in vars(r).values() if isinstance(kind, type) and issubclass(kind, r.Record)
                for name in kind.model_fields}  # fmt: skip
unknown_names = (names | st.sampled_from(["x_new", "duration", "models", "model_dump", "self", "__dict__"])).filter(
    lambda name: name not in _FIELD_NAMES
)


@st.composite
def timestamps(draw: st.DrawFn) -> str:
    """RFC 3339 texts: any offset, none to twelve digits of a second, both cases, T or a blank."""
    moment = draw(st.datetimes())
    digits = draw(st.sampled_from([0, 3, 6, 9]) | st.integers(0, 12))
    fraction = "." + "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=digits, max_size=digits)))
    offset = draw(
        st.sampled_from(["Z", "Z", "Z", "+00:00", "z", "-00:00"])
        | st.tuples(st.sampled_from("+-"), st.integers(0, 23), st.integers(0, 59)).map(
            lambda o: f"{o[0]}{o[1]:02}:{o[2]:02}"
        )
    )
    between = draw(st.sampled_from(["T", "T", "T", "t", " "]))
    return f"{moment:%Y-%m-%d}".rjust(10, "0") + between + f"{moment:%H:%M:%S}{fraction if digits else ''}{offset}"


def obj(
    required: dict[str, Any], optional: dict[str, Any] | None = None, unknown: bool = True
) -> st.SearchStrategy[Any]:
    """JSON objects: optional fields may be absent, null, or there; unknown fields may be anywhere."""
    known = st.fixed_dictionaries(required, optional={k: st.none() | v for k, v in (optional or {}).items()})
    extra = st.just({}) | st.dictionaries(unknown_names, json_values, max_size=2)
    return st.tuples(known, extra).map(lambda pair: {**pair[1], **pair[0]})


def words(enum: type[r.OpenEnum]) -> st.SearchStrategy[str]:
    """A word of an enumeration, or one that a later release might bring."""
    return st.sampled_from([member.value for member in enum]) | names


def lists(of: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, max_size=most)


parallel_hints = obj({"tool_name": texts, "group_id": texts, "explicit": st.booleans()})
metadata_envelopes = obj(
    {"run_id": uuids, "agent_id": texts, "parallel_hints": lists(parallel_hints), "extensions": json_values}
)
parallel_groups = obj({"group_id": texts, "tool_names": lists(texts)})
plans = obj({"agent_id": texts, "parallel_groups": lists(parallel_groups), "metadata_template": metadata_envelopes})

metrics = obj({"sample_count": u32, "mean": f64, "p50": f64, "p90": f64, "p95": f64})
predictions = obj(
    {
        "remaining_calls": metrics,
        "interarrival_ms": metrics,
        "output_tokens": metrics,
        "latency_sensitivity": st.none() | u32,
    }
)
call_indices = u32.map(str)


def _node(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return obj(
        {
            "name": texts,
            "children": children,
            "predictions_by_call_index": st.dictionaries(call_indices, predictions, max_size=2),
            "predictions_any_index": st.none() | predictions,
        }
    )


trie_nodes = st.recursive(
    _node(st.just({})), lambda inner: _node(st.dictionaries(texts, inner, max_size=2)), max_leaves=4
)
tries = obj({"version": texts, "generated_at": timestamps(), "workflow_name": texts, "root": trie_nodes})

centroids = obj({"mean": f64, "weight": f64})
digests = obj(
    {
        "centroids": lists(centroids),
        "sum": f64,
        "count": f64,
        "max": st.none() | f64,
        "min": st.none() | f64,
        "max_size": st.just(100),
    }
)
running_stats = obj({"count": u64, "mean": f64, "m2": f64, "digest": digests})
_by_index = st.dictionaries(call_indices, running_stats, max_size=1)
node_accumulators = obj(
    dict.fromkeys(("remaining_calls", "interarrival_ms", "output_tokens", "sensitivity"), _by_index)
    | {f"all_{name}": running_stats for name in ("remaining_calls", "interarrival_ms", "output_tokens", "sensitivity")}
)
accumulators = obj({"nodes": st.dictionaries(texts, node_accumulators, max_size=2)})

prompt_blocks = obj(
    {
        "span_id": texts,
        "sequence_index": u32,
        "role": words(r.PromptRole),
        "content": texts,
        "content_type": words(r.BlockContentType),
        "provenance": words(r.ProvenanceLabel),
        "sensitivity": words(r.SensitivityLabel),
    },
    {"token_metadata": obj({"model_family": texts, "token_count": u32})},
)
prompts = obj(
    {"ir_id": uuids, "blocks": lists(prompt_blocks), "created_at": timestamps()},
    {
        "tool_schema_hashes": lists(obj({"tool_name": texts, "schema_hash": texts})),
        "structured_output_schema_id": texts,
        "source_request_hash": texts,
    },
)
observations = lists(prompts)
stability_results = obj(
    {
        "scores": lists(
            obj(
                {
                    "span_id": texts,
                    "classification": words(r.StabilityClass),
                    "score": shares,
                    "confidence": shares,
                    "observation_count": u32,
                }
            )
        ),
        "stable_prefix_length": u64,
        "total_observations": u32,
    },
    {"stable_prefix_fingerprint": texts},
)

parts = obj({"type": texts}, {"text": texts})
contents = texts | lists(parts)
messages = obj(
    {"role": words(r.MessageRole)},
    {"content": contents, "name": texts, "tool_call_id": texts, "tool_calls": lists(json_values)},
)
requests = obj(
    {},
    {
        "instructions": contents,
        "model": texts,
        "params": obj({}, {"temperature": f64, "max_tokens": u64, "top_p": f64, "stop": lists(texts)}),
        "tools": lists(json_values),
        "tool_choice": json_values,
        "store": st.booleans(),
        "metadata": json_values,
        "max_output_tokens": u64,
        "api_specific": json_values,
        "nvext": obj({}, {"agent_hints": obj({}, {"iat": u64, "latency_sensitivity": f64, "prefix_id": texts})}),
    },
).flatmap(lambda value: lists(messages).map(lambda m: {**value, "messages": m}) | st.just(value))
costs = obj(
    {"source": words(r.CostSource)},
    dict.fromkeys(("total", "input", "output", "cache_read", "cache_write"), f64) | {"pricing_model": texts},
).flatmap(lambda cost: st.sampled_from([cost, {**cost, "currency": "EUR"}]))
usages = obj(
    {},
    dict.fromkeys(
        ("prompt_tokens", "completion_tokens", "total_tokens", "cache_read_tokens", "uncached_input_tokens"), u64
    )
    | {"cache_write_tokens": u64 | lists(obj({"count": u64}, {"duration": u64})), "cost": costs},
)
responses = obj(
    {},
    {
        "id": texts,
        "model": texts,
        "message": contents,
        "tool_calls": lists(obj({"id": texts, "name": texts, "arguments": json_values})),
        "finish_reason": words(r.FinishReason) | texts.map(lambda text: {"unknown": text}),
        "usage": usages,
        "optimization_summary": json_values,
        "api_specific": json_values,
    },
)
calls = obj(
    {"kind": words(r.CallKind), "name": texts, "started_at": timestamps()},
    {
        "ended_at": timestamps(),
        "metadata_snapshot": metadata_envelopes,
        "output_tokens": u32,
        "prompt_tokens": u32,
        "total_tokens": u32,
        "model_name": texts,
        "tool_call_count": u32,
        "annotated_request": requests,
        "annotated_response": responses,
    },
)
runs = obj(
    {"id": uuids, "agent_id": texts, "calls": lists(calls), "started_at": timestamps()}, {"ended_at": timestamps()}
)

# The values that have a key of their own.
WIRE: dict[Any, st.SearchStrategy[Any]] = {
    r.RunRecord: runs,
    r.ExecutionPlan: plans,
    r.TrieEnvelope: tries,
    r.AccumulatorState: accumulators,
    list[r.PromptIR]: observations,
    r.StabilityAnalysisResult: stability_results,
}


def records(kind: Any) -> st.SearchStrategy[Any]:
    """Models of a type of `WIRE`."""
    return WIRE[kind].map(lambda value: r.from_json(kind, json.dumps(value)))
