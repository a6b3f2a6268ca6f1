"""RedisJSON's paths: JSONPath (``$.a[*]..b[?(@.c>1)]``) and the legacy dotted form, compiled once and evaluated."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import re2
from fakeredis._helpers import SimpleError

from relay_models.embedded.json.grammar import PathSyntaxError, RuleNode, read_path

__all__ = ["JSONPath", "Match", "PathSyntaxError", "compile_path", "whole_path"]


class Match(NamedTuple):
    """One match of a path: the value, and the object or array that contains it (None for the root)."""

    value: Any
    parent: Any
    key: Any


# Maximum number of nodes that the evaluation of one path visits; each takes about a microsecond. Steps that scan a
# document multiply each other: `$..*..*..*` has a billion matches in a small one.
MAXIMUM_VISITS: Final = 2_000_000


class Evaluation:
    """One evaluation of a path on a document.

    Args:
        root: The document.
    """

    __slots__ = ("_left", "root")

    def __init__(self, root: Any) -> None:
        self.root = root
        self._left = MAXIMUM_VISITS

    def visit(self, nodes: int = 1) -> None:
        """Count nodes. Raises `SimpleError` for one too many."""
        self._left -= nodes
        if self._left < 0:
            raise SimpleError(f"ERR path visits more than {MAXIMUM_VISITS} values; make it more precise")

    def follow(self, steps: tuple[Step, ...], start: Any) -> list[Match]:
        """Every match of the steps from a value, in document order."""
        found = [Match(start, None, None)]
        for step in steps:
            if len(found) == 1:
                found = list(step(found[0], self))
                self._left -= len(found)
                continue
            nodes, found = found, []
            for node in nodes:
                self.visit()
                found.extend(step(node, self))
                self._left -= len(found)
        return found


Nodes = Iterator[Match]
Step = Callable[[Match, Evaluation], Nodes]


class JSONPath:
    """A compiled path. Values are plain Python objects."""

    __slots__ = ("full", "is_legacy", "is_root", "is_static", "last_name", "parent_path", "steps", "text")

    def __init__(
        self, text: str, full: str, steps: tuple[Step, ...], *, is_legacy: bool, is_static: bool, last_name: str | None
    ) -> None:
        self.text = text
        self.full = full
        """The path from the root, which for a legacy path differs from the given one."""
        self.is_static = is_static
        """Whether every step is one name or one index, so that there is at most one match."""
        self.steps = steps
        self.is_legacy = is_legacy
        self.is_root = not steps
        self.last_name = last_name
        """The last step's name where it is a plain one, which JSON.SET may add to the objects before it."""
        self.parent_path: JSONPath | None = None
        if last_name is not None:
            self.parent_path = JSONPath(
                text, full, steps[:-1], is_legacy=is_legacy, is_static=is_static, last_name=None
            )

    def matches(self, root: Any) -> list[Match]:
        """Every match of the path, in document order."""
        return Evaluation(root).follow(self.steps, root)

    def find(self, root: Any) -> list[Any]:
        """Every value the path matches, in document order."""
        return [match.value for match in self.matches(root)]


def compile_path(path: bytes | str) -> JSONPath:
    """Compile a path. Raises `PathSyntaxError` with the position of the error."""
    return _compile(path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path)


def whole_path(path: bytes | str) -> tuple[bool, str]:
    """Whether a path is a legacy one, and the path from the root, which may be invalid."""
    text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
    if text.startswith("$") and (len(text) < 2 or text[1] in ".["):
        return False, text
    if text == ".":
        return True, "$"
    return True, ("$" if text.startswith((".", "[")) else "$.") + text


@functools.lru_cache(maxsize=512)
def _compile(text: str) -> JSONPath:
    legacy, full = whole_path(text)
    steps, is_static, last_name = _steps(read_path(full))
    return JSONPath(text, full, steps, is_legacy=legacy, is_static=is_static, last_name=last_name)


# Steps: each turns one node into the nodes it leads to.


def _by_names(names: tuple[str, ...]) -> Step:
    def step(node: Match, of: Evaluation) -> Nodes:
        value = node.value
        if type(value) is dict:
            for name in names:
                if name in value:
                    yield Match(value[name], value, name)

    return step


def _every(node: Match, of: Evaluation) -> Nodes:
    value = node.value
    if type(value) is dict:
        for name, child in value.items():
            yield Match(child, value, name)
    elif type(value) is list:
        for index, child in enumerate(value):
            yield Match(child, value, index)


def _by_indexes(indexes: tuple[int, ...]) -> Step:
    def step(node: Match, of: Evaluation) -> Nodes:
        value = node.value
        if type(value) is list:
            for index in indexes:
                at = _place(index, len(value))
                if at < len(value):
                    yield Match(value[at], value, at)

    return step


def _place(index: int, length: int) -> int:
    """An index counted from the start, limited to the array."""
    return max(index + length, 0) if index < 0 else min(index, length)


def _by_slice(start: int, stop: int | None, stride: int) -> Step:
    def step(node: Match, of: Evaluation) -> Nodes:
        value = node.value
        if type(value) is list:
            length = len(value)
            for index in range(_place(start, length), length if stop is None else _place(stop, length), stride):
                yield Match(value[index], value, index)

    return step


def _scan(inner: Step) -> Step:
    """The step, taken from the node itself and from everything below it."""

    def step(node: Match, of: Evaluation) -> Nodes:
        waiting = [node]
        while waiting:
            current = waiting.pop()
            of.visit()
            yield from inner(current, of)
            waiting.extend(reversed([child for child in _every(current, of) if type(child.value) in (dict, list)]))

    return step


Test = Callable[[Any, Evaluation], bool]
Operand = Callable[[Any, Evaluation], "list[Any]"]


def _where(test: Test) -> Step:
    def step(node: Match, of: Evaluation) -> Nodes:
        for child in _every(node, of):
            of.visit()
            if test(child.value, of):
                yield child

    return step


_KINDS: Final = {int: "number", float: "number", str: "string", bool: "bool", type(None): "null"}


def _same(left: Any, right: Any) -> bool:
    if type(left) in (list, dict) or type(right) in (list, dict):
        return type(left) is type(right) and bool(left == right)
    return _KINDS[type(left)] == _KINDS[type(right)] and bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(left: Any, right: Any) -> bool:
        kind = _KINDS.get(type(left))
        return kind in ("number", "string") and kind == _KINDS.get(type(right)) and compare(left, right)

    return test


def _matches_pattern(left: Any, right: Any) -> bool:
    if type(left) is not str or type(right) is not str:
        return False
    try:
        return _regex(right).search(left) is not None
    except (re2.error, UnicodeEncodeError):
        return False


@functools.lru_cache(maxsize=128)
def _regex(pattern: str) -> Any:
    """A user's pattern, as an automaton: RedisJSON's engine does not backtrack either."""
    options = re2.Options()
    options.log_errors = False
    compiler: Any = re2.compile  # has no annotations
    return compiler(pattern, options)


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": _same,
    "ne": _same,
    "le": _ordered(operator.le),
    "ge": _ordered(operator.ge),
    "re": _matches_pattern,
    "lt": _ordered(operator.lt),
    "gt": _ordered(operator.gt),
}

# From the grammar's rules to steps and tests.


def _steps(nodes: tuple[RuleNode, ...]) -> tuple[tuple[Step, ...], bool, str | None]:
    """The steps, whether they have at most one match, and the last one's name where it is a plain one."""
    steps: list[Step] = []
    is_static, last_name, scanning = True, None, False
    for node in nodes:
        if node.rule == "full_scan":
            scanning, is_static = True, False
            continue
        step, name, single = _step(node)
        steps.append(_scan(step) if scanning else step)
        last_name = None if scanning else name
        is_static, scanning = is_static and single, False
    return tuple(steps), is_static, last_name


def _step(node: RuleNode) -> tuple[Step, str | None, bool]:
    """A step, its name if it has just one, and whether it has at most one match."""
    if node.rule == "literal":
        return _by_names((node.text,)), node.text, True
    if node.rule == "string_list":
        names = tuple(map(_string, node.children))
        return _by_names(names), names[0] if len(names) == 1 else None, len(names) == 1
    if node.rule == "numbers_list":
        return _by_indexes(tuple(int(child.text) for child in node.children)), None, len(node.children) == 1
    if node.rule == "numbers_range":
        return _range(node.children[0]), None, False
    return (_every if node.rule == "all" else _where(_filter(node.children))), None, False


def _range(node: RuleNode) -> Step:
    numbers = [int(child.text) for child in node.children if child.rule == "number"]
    strides = [int(child.text) for child in node.children if child.rule == "pos_number"]
    start = 0 if node.rule in ("right_range", "all_range") else numbers[0]
    stop = numbers[-1] if node.rule in ("full_range", "right_range") else None
    return _by_slice(start, stop, strides[0] if strides else 1)


def _string(node: RuleNode) -> str:
    if node.rule == "string_value":
        return node.text
    quote = '"' if node.rule == "string_value_escape_1" else "'"
    return node.text.replace("\\\\", "\\").replace("\\" + quote, quote)


def _filter(nodes: tuple[RuleNode, ...]) -> Test:
    """True where all of some tests hold, or all of some others."""
    groups: list[list[Test]] = [[]]
    for node in nodes:
        if node.rule == "or":
            groups.append([])
        elif node.rule == "filter":
            groups[-1].append(_filter(node.children))
        elif node.rule == "single_filter":
            groups[-1].append(_single_filter(node.children))
    return lambda value, of: any(all(test(value, of) for test in group) for group in groups)


def _single_filter(nodes: tuple[RuleNode, ...]) -> Test:
    left = _operand(nodes[0])
    if len(nodes) == 1:
        return lambda value, of: bool(left(value, of))
    compare, right = _OPERATORS[nodes[1].rule], _operand(nodes[2])

    def test(value: Any, of: Evaluation) -> bool:
        values, others = left(value, of), right(value, of)
        of.visit(len(values) * len(others))
        return any(compare(one, other) for one in values for other in others)

    if nodes[1].rule == "ne":
        # A path without a match is unequal too.
        return lambda value, of: not test(value, of)
    return test


def _operand(node: RuleNode) -> Operand:
    if node.rule in ("from_current", "from_root"):
        steps = _steps(node.children[0].children)[0] if node.children else ()
        return _path_operand(steps, node.rule == "from_root")
    if node.rule == "decimal":
        return _constant(float(node.text) if "." in node.text else int(node.text))
    if node.rule in _WORDS:
        return _constant(_WORDS[node.rule])
    return _constant(_string(node))


_WORDS: Final = {"boolean_true": True, "boolean_false": False, "null": None}


def _constant(value: Any) -> Operand:
    found = [value]
    return lambda current, of: found


def _path_operand(steps: tuple[Step, ...], from_root: bool) -> Operand:
    def values(current: Any, of: Evaluation) -> list[Any]:
        return [match.value for match in of.follow(steps, of.root if from_root else current)]

    return values
