"""`to_atif`: a trajectory (ATIF v1.7) of a run, with the runs of its sub-agents embedded."""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from relay_models._checks import check_list, check_type
from relay_models.records import CallRecord, RunRecord
from relay_models.records.extensions import EXTENSIONS_KEY
from relay_models.records.tokens import TokenCounts, count_tokens
from relay_models.trajectories.atif.content import (
    ATIF_KEY,
    OWN_KEY,
    as_arguments,
    atif_content,
    is_representable,
    known,
    mapping,
    objects,
    record_content,
    without,
)
from relay_models.trajectories.understood import understood

__all__ = ["ATIF_VERSION", "to_atif"]

ATIF_VERSION = "ATIF-v1.7"
_SOURCES = {"system": "system", "developer": "system", "user": "user", "assistant": "agent"}
# Extensions of a call that have a place of their own in a step.
_PLACED = ("error", "input", "output", "tool_call_id", "metadata")


def to_atif(run: RunRecord, sub_runs: Iterable[RunRecord] = (), *, exact: bool = True) -> dict[str, Any]:
    """Write a run as a trajectory.

    An LLM call is an agent step, with the tool calls that follow it and their results; what its request says that no
    earlier one has said becomes user and system steps. Token counts include cached ones, as the format asks. A failed
    run has ``extra.error``, a failed tool ``extra.is_error`` and ``extra.error`` in its result, a failed LLM call
    ``extra.error`` in its step. What the format has no field for, such as exact times, is under
    ``extra.relay_models``, from where `runs_from_atif` reads it.

    Args:
        run: the run.
        sub_runs: runs of its sub-agents at any depth; those that do not descend from the run are left out.
        exact: whether the record of a call that steps cannot hold in full, such as the whole request, is added under
            ``extra.relay_models``, so that reading the document gives the same run; without it the document is smaller.

    Returns:
        The document, as JSON values.

    Raises:
        InvalidConfigurationError: what is given are no runs.
    """
    check_type("run", run, RunRecord, "a RunRecord")
    children: dict[UUID, list[RunRecord]] = defaultdict(list)
    for child in check_list("sub_runs", sub_runs, RunRecord, "RunRecord values"):
        if child.ext is not None and child.ext.parent_run_id is not None and child.id != run.id:
            children[child.ext.parent_run_id].append(child)
    return _Writing(run, children, frozenset({run.id}), exact).document()


class _Writing:
    def __init__(
        self, run: RunRecord, children: Mapping[UUID, list[RunRecord]], above: frozenset[UUID], exact: bool
    ) -> None:
        self._run, self._exact = run, exact
        # As it is, and as far as it is understood: the one is kept, the other makes the steps.
        self._whole = run.model_dump(mode="json")
        self._value = understood(run) if run.not_understood else self._whole
        extensions = self._value.get(EXTENSIONS_KEY) or {}
        metadata = mapping(extensions.get("metadata"))
        self._extensions, self._metadata = extensions, metadata
        self._leftover = mapping(metadata.get(ATIF_KEY))
        self._children = [child for child in children.get(run.id, ()) if child.id not in above]
        self._subagents = [_Writing(child, children, above | {child.id}, exact) for child in self._children]
        self._steps: list[dict[str, Any]] = []
        self._messages = deque(self._read_messages())
        self._last: dict[str, Any] | None = None  # the newest step that holds calls
        self._seen: Counter[tuple[str, str]] = Counter()
        self.totals = TokenCounts()
        self.cost: float | None = None

    @property
    def identifier(self) -> str:
        return str(self._leftover.get("trajectory_id") or self._run.id)

    def document(self) -> dict[str, Any]:
        run, leftover, extensions = self._run, self._leftover, self._extensions
        subagents = [subagent.document() for subagent in self._subagents]
        self._write_steps()
        for number, step in enumerate(self._steps, 1):
            step["step_id"] = number
        for inner in self._subagents:
            if inner.cost is not None:
                self.cost = (self.cost or 0.0) + inner.cost
        own = {
            "started_at": run.started_at.text,
            "ended_at": None if run.ended_at is None else run.ended_at.text,
            "status": extensions.get("status"),
            "user_id": extensions.get("user_id"),
            "input": extensions.get("input"),
            "output": extensions.get("output"),
            "metadata": without(self._metadata, ATIF_KEY) or None,
        }
        if self._exact and ATIF_KEY not in self._metadata:
            own = {"run": without(self._whole, "calls")}
        extra = {**mapping(leftover.get("extra")), **known({"error": extensions.get("error"), OWN_KEY: known(own)})}
        metrics = {
            "total_prompt_tokens": self.totals.input_tokens,
            "total_completion_tokens": self.totals.output_tokens,
            "total_cached_tokens": self.totals.cached_input_tokens,
            "total_cost_usd": self.cost,
            "total_steps": len(self._steps),
            "extra": leftover.get("final_metrics_extra"),
        }
        return known(
            {
                "schema_version": ATIF_VERSION,
                "session_id": leftover.get("session_id") or extensions.get("session_id"),
                "trajectory_id": self.identifier,
                "agent": {"name": run.agent_id, "version": "unknown", **mapping(leftover.get("agent"))},
                "steps": [{"step_id": step["step_id"], **step} for step in self._steps],
                "notes": leftover.get("notes"),
                "final_metrics": known(metrics),
                "continued_trajectory_ref": leftover.get("continued_trajectory_ref"),
                "extra": extra,
                "subagent_trajectories": subagents or None,
            }
        )

    def _write_steps(self) -> None:
        by_call: dict[int | None, list[_Writing]] = defaultdict(list)
        for inner in self._subagents:
            index = inner._extensions.get("parent_call")
            is_tool = index is not None and index < len(self._run.calls) and self._run.calls[index].kind == "tool"
            by_call[index if is_tool else None].append(inner)
        links = sorted(by_call.pop(None, []), key=lambda inner: inner._run.started_at)
        for group in _groups(self._run.calls):
            first = self._run.calls[group[0]]
            while links and links[0]._run.started_at < first.started_at:
                self._steps.append(links.pop(0)._link())
            number = _atif(self._value["calls"][group[0]]).get("group")
            if number is not None:
                self._write_messages(number)
            self._step(group, by_call)
        self._steps += [inner._link() for inner in links]
        self._write_messages(None)
        if not self._steps:
            at = self._run.started_at.text
            extra = {OWN_KEY: {"empty": True}}
            self._steps.append({"timestamp": at, "source": "agent", "message": "", "llm_call_count": 0, "extra": extra})

    def _read_messages(self) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, Any]]]:
        """The messages that were read from steps: the step before which each was, and what was kept of its own."""
        for call in self._value["calls"]:
            messages = objects(mapping(call.get("annotated_request")).get("messages"))
            kept = [mapping(item) for item in _atif(call).get("before") or ()]
            for message, leftover in zip(messages, kept, strict=False):
                yield leftover.get("at") or 0, mapping(message), leftover
        for item in self._leftover.get("trailing") or ():
            leftover = mapping(mapping(item).get("step"))
            yield leftover.get("at") or 0, mapping(mapping(item).get("message")), leftover

    def _write_messages(self, group: int | None) -> None:
        """Steps for the messages up to a step that was read; for all that are left if there is none."""
        while self._messages and (group is None or self._messages[0][0] <= group):
            _, message, leftover = self._messages.popleft()
            self._message_step(message, leftover)

    def _link(self) -> dict[str, Any]:
        """The step of the parent that says where this sub-agent ran, as NeMo Relay writes it."""
        call_id = f"subagent:{self._run.id}"
        reference = {"trajectory_id": self.identifier}
        return {
            "timestamp": self._run.started_at.text,
            "source": "agent",
            "message": "",
            "llm_call_count": 0,
            "tool_calls": [{"tool_call_id": call_id, "function_name": self._run.agent_id, "arguments": {}}],
            "observation": {"results": [{"source_call_id": call_id, "subagent_trajectory_ref": [reference]}]},
        }

    def _step(self, group: Sequence[int], by_call: Mapping[int | None, list[_Writing]]) -> None:
        """The step of an LLM call and the tools after it, or of tools alone."""
        calls = self._value["calls"]
        first = calls[group[0]]
        tools = [index for index in group if calls[index]["kind"] == "tool"]
        if first["kind"] == "tool":
            leftover = mapping(_atif(first).get("step"))
            step = {
                "timestamp": first["started_at"],
                "source": "agent",
                "message": "",
                "llm_call_count": 0,
                **without(leftover, "llm_call_count", "metrics", "reasoning_content"),
            }
            asked: list[dict[str, Any]] = []
        else:
            step, asked = self._llm_step(group[0])
        identifiers: dict[int, str] = {}
        taken: set[str] = set()
        for index in tools:
            extensions = calls[index].get(EXTENSIONS_KEY) or {}
            name = str(extensions.get("tool_call_id") or extensions.get("id") or f"call_{index}")
            while name in taken:
                name = f"{name}_{index}"
            taken.add(name)
            identifiers[index] = name
        by_id = {name: index for index, name in identifiers.items()}
        written = [self._tool_call(call["tool_call_id"], call, by_id) for call in asked]
        asked_ids = {call["tool_call_id"] for call in asked}
        for index, name in identifiers.items():
            if name not in asked_ids:
                call = {"function_name": calls[index]["name"], "arguments": {}}
                written.append(self._tool_call(name, call, by_id))
        if written:
            step["tool_calls"] = written
        results = [
            result for index in tools for result in _results(calls[index], identifiers[index], by_call.get(index, ()))
        ]
        if results:
            step["observation"] = {"results": results}
        self._steps.append(step)
        self._last = step

    def _llm_step(self, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        call, value = self._run.calls[index], self._value["calls"][index]
        leftover = _atif(value)
        self._request_steps(value)
        extensions = value.get(EXTENSIONS_KEY) or {}
        response = mapping(value.get("annotated_response"))
        content = response.get("message")
        own = _own(value) | known({"response_id": response.get("id"), "finish_reason": response.get("finish_reason")})
        if not is_representable(content):
            own["message"] = content
        if self._exact and ATIF_KEY not in _metadata(value):
            own = {"call": self._whole["calls"][index]}
            extensions = {"error": extensions.get("error")}
        told = {"llm_request": extensions.get("input"), "llm_response": extensions.get("output")}
        extra = dict(mapping(leftover.get("extra"))) | known({"error": extensions.get("error"), **told, OWN_KEY: own})
        kept = mapping(leftover.get("step"))
        step = known(
            {
                "timestamp": value.get("ended_at") or value["started_at"],
                "source": "agent",
                "model_name": value.get("model_name") or response.get("model"),
                "message": atif_content(content),
                "reasoning_content": _reasoning(response),
                "metrics": self._metrics(call, mapping(leftover.get("metrics"))) or None,
                "llm_call_count": None if ATIF_KEY in _metadata(value) else 1,
                **kept,
                "extra": extra,
            }
        )
        asked = [
            {
                "tool_call_id": str(item.get("id", "")),
                "function_name": str(item.get("name", "")),
                "arguments": as_arguments(item.get("arguments")),
            }
            for item in response.get("tool_calls") or ()
        ]
        return step, asked

    def _metrics(self, call: CallRecord, leftover: Mapping[str, Any]) -> dict[str, Any]:
        tokens, cost = count_tokens(call), call.cost
        self.totals += tokens
        amount = None if cost is None else cost.amount
        in_dollars = cost is not None and cost.currency.upper() == "USD"
        if amount is not None and in_dollars:
            self.cost = (self.cost or 0.0) + amount
        told = None if call.annotated_response is None else call.annotated_response.usage
        total = call.total_tokens if told is None or told.total_tokens is None else told.total_tokens
        is_whole = tokens.input_tokens is not None and tokens.output_tokens is not None
        own = {
            "reasoning_tokens": tokens.reasoning_tokens,
            "cache_creation_input_tokens": tokens.cache_write_tokens,
            "total_tokens": None if is_whole and total == tokens.total_tokens else total,
        }
        extra = {**mapping(leftover.get("extra")), **known(own)}
        if cost is not None and amount is not None and not in_dollars:
            extra["cost"] = {"amount": amount, "currency": cost.currency}
        metrics = {
            **without(leftover, "extra"),
            "prompt_tokens": tokens.input_tokens,
            "completion_tokens": tokens.output_tokens,
            "cached_tokens": tokens.cached_input_tokens,
            "cost_usd": amount if in_dollars else None,
            "extra": extra or None,
        }
        return known(metrics)

    def _request_steps(self, value: dict[str, Any]) -> None:
        """Steps for the messages of a request that are new."""
        request = mapping(value.get("annotated_request"))
        messages = [message for message in request.get("messages") or () if isinstance(message, Mapping)]
        if ATIF_KEY in _metadata(value):
            return  # they are written as they were read
        if (instructions := request.get("instructions")) is not None:
            messages.insert(0, {"role": "system", "content": instructions})
        here: Counter[tuple[str, str]] = Counter()
        for message in messages:
            role = str(message.get("role"))
            if role not in ("system", "developer", "user"):
                continue
            key = role, json.dumps(message.get("content"), sort_keys=True)
            here[key] += 1
            if here[key] > self._seen[key]:
                self._seen[key] = here[key]
                self._message_step(message, {})

    def _message_step(self, message: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        content = message.get("content")
        if "observation" in kept and "source" not in kept:
            result = {"content": atif_content(content), **mapping(kept["observation"])}
            if self._last is not None:
                self._last.setdefault("observation", {"results": []})["results"].append(result)
                return
        extra = dict(mapping(kept.get("extra")))
        if not is_representable(content):
            extra[OWN_KEY] = {"message": content}
        step = {
            "source": _SOURCES.get(str(message.get("role")), "user"),
            "message": atif_content(content),
            **without(kept, "extra", "at"),
        }
        self._steps.append(step | ({"extra": extra} if extra else {}))

    def _tool_call(self, name: str, call: dict[str, Any], by_id: Mapping[str, int]) -> dict[str, Any]:
        index = by_id.get(name)
        if index is None:
            return {"tool_call_id": name, "function_name": call["function_name"], "arguments": call["arguments"]}
        value = self._value["calls"][index]
        extensions = value.get(EXTENSIONS_KEY) or {}
        given = extensions.get("input")
        own = {"call": self._whole["calls"][index]} if self._exact and ATIF_KEY not in _metadata(value) else _own(value)
        return {
            "tool_call_id": name,
            "function_name": value["name"],
            "arguments": call["arguments"] if given is None else as_arguments(given),
            "extra": {**mapping(_atif(value).get("extra")), OWN_KEY: own},
        }


def _groups(calls: Sequence[CallRecord]) -> Iterator[list[int]]:
    """Indexes of the calls that make a step: an LLM call and the tools after it, or as they were read."""
    group: list[int] = []
    last: Any = None
    for index, call in enumerate(calls):
        kept = mapping({} if call.ext is None else mapping(call.ext.metadata).get(ATIF_KEY))
        number = kept.get("group")
        follows = call.kind == "tool" and "step" not in kept
        joins = follows if number is None or last is None else number == last
        if group and not joins:
            yield group
            group = []
        group.append(index)
        last = number
    if group:
        yield group


def _results(call: dict[str, Any], name: str, subagents: Sequence[_Writing]) -> Iterator[dict[str, Any]]:
    """What a tool call resulted in."""
    extensions = call.get(EXTENSIONS_KEY) or {}
    output, kept = extensions.get("output"), _atif(call).get("results") or ()
    status, error = extensions.get("status"), extensions.get("error")
    references = [{"trajectory_id": subagent.identifier} for subagent in subagents]
    if status is None and output is None and not kept and not references:
        return
    outputs = output if len(kept) > 1 and isinstance(output, list) and len(output) == len(kept) else [output]
    for index, item in enumerate(outputs):
        leftover = mapping(kept[index]) if index < len(kept) else {}
        extra = dict(mapping(leftover.get("extra")))
        content = item
        if item is not None and not isinstance(item, str) and not _are_parts(item):
            extra["tool_result"] = item
            content = json.dumps(item, ensure_ascii=False, separators=(",", ":"))
        if status == "failed" and index == 0:
            extra["is_error"] = True
            if error:
                extra["error"] = error
        result = {"source_call_id": name, "content": content, **without(leftover, "extra"), "extra": extra or None}
        if references and index == 0 and "subagent_trajectory_ref" not in leftover:
            result["subagent_trajectory_ref"] = references
        yield known(result)


def _are_parts(value: Any) -> bool:
    """Whether a value is content of ATIF's own, in parts."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(part, Mapping) and part.get("type") in ("text", "image") for part in value)
        and atif_content(record_content(value)) == value
    )


def _own(value: dict[str, Any]) -> dict[str, Any]:
    """What a step or a tool call has no field for."""
    extensions = value.get(EXTENSIONS_KEY) or {}
    kept = without(extensions, *_PLACED)
    if metadata := without(extensions.get("metadata"), ATIF_KEY):
        kept["metadata"] = metadata
    own = {"name": value["name"], "started_at": value["started_at"], "ended_at": value.get("ended_at")}
    return known({**own, "ext": kept or None})


def _metadata(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(value.get(EXTENSIONS_KEY)).get("metadata"))


def _atif(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was kept of the step that a call was read from."""
    return mapping(_metadata(value).get(ATIF_KEY))


def _reasoning(response: Mapping[str, Any]) -> str | None:
    """The text of a model's reasoning, where a record has it."""
    told = response.get("reasoning_content")
    if isinstance(told, str) and told:
        return told
    blocks = mapping(response.get("api_specific")).get("content_blocks")
    texts = [block.get("thinking") for block in objects(blocks)]
    return "\n".join(text for text in texts if isinstance(text, str)) or None
