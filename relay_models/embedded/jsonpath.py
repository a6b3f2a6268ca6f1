"""RedisJSON's paths: JSONPath (``$.a[*]..b[?(@.c>1)]``) and the legacy dotted form, compiled once and evaluated."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

__all__ = ["JSONPath", "Match", "PathSyntaxError", "compile_path"]


class PathSyntaxError(ValueError):
    """A path that cannot be read. `position` is the offset where reading stopped."""

    def __init__(self, path: str, position: int, expected: str) -> None:
        super().__init__(
            f'Error occurred on position {position}, "{path[:position]} <<<<---- {path[position:]}", '
            f"expected one of the following: {expected}."
        )
        self.position = position


class Match(NamedTuple):
    """One place a path leads to: the value, and the object or array that holds it (None for the root)."""

    value: Any
    parent: Any
    key: Any


Nodes = Iterator[Match]
Step = Callable[[Match, Any], Nodes]


class JSONPath:
    """A compiled path. Values are plain Python objects."""

    __slots__ = ("full", "is_legacy", "is_root", "is_static", "last_name", "parent_path", "steps", "text")

    def __init__(
        self, text: str, full: str, steps: tuple[Step, ...], *, is_legacy: bool, is_static: bool, last_name: str | None
    ) -> None:
        self.text = text
        self.full = full
        """The path from the root, which for a legacy path differs from what was given."""
        self.is_static = is_static
        """Whether every step is one name or one index, so that the path leads to one place at most."""
        self.steps = steps
        self.is_legacy = is_legacy
        self.is_root = not steps
        self.last_name = last_name
        """The last step's name where it is a plain one: what JSON.SET may add to the objects before it."""
        self.parent_path: JSONPath | None = None
        if last_name is not None:
            self.parent_path = JSONPath(
                text, full, steps[:-1], is_legacy=is_legacy, is_static=is_static, last_name=None
            )

    def matches(self, root: Any) -> list[Match]:
        """Every place the path leads to, in document order."""
        found = [Match(root, None, None)]
        for step in self.steps:
            found = [match for node in found for match in step(node, root)]
        return found

    def find(self, root: Any) -> list[Any]:
        """Every value the path leads to, in document order."""
        return [match.value for match in self.matches(root)]


def compile_path(path: bytes | str) -> JSONPath:
    """Compile a path; `PathSyntaxError` says where it cannot be read."""
    return _compile(path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path)


@functools.lru_cache(maxsize=512)
def _compile(text: str) -> JSONPath:
    legacy = not (text.startswith("$") and (len(text) < 2 or text[1] in ".["))
    full = text
    if legacy:
        if text == ".":
            full = "$"
        elif text.startswith((".", "[")):
            full = "$" + text
        else:
            full = "$." + text
    reader = _Reader(full)
    reader.take("$")
    steps = reader.steps()
    if reader.position < len(full):
        raise reader.error("'.', '[' or the end")
    return JSONPath(text, full, tuple(steps), is_legacy=legacy, is_static=reader.is_static, last_name=reader.last_name)


# Steps: each turns one node into the nodes it leads to.


def _by_names(names: tuple[str, ...]) -> Step:
    def step(node: Match, root: Any) -> Nodes:
        value = node.value
        if type(value) is dict:
            for name in names:
                if name in value:
                    yield Match(value[name], value, name)

    return step


def _every(node: Match, root: Any) -> Nodes:
    value = node.value
    if type(value) is dict:
        for name, child in value.items():
            yield Match(child, value, name)
    elif type(value) is list:
        for index, child in enumerate(value):
            yield Match(child, value, index)


def _by_indexes(indexes: tuple[int, ...]) -> Step:
    def step(node: Match, root: Any) -> Nodes:
        value = node.value
        if type(value) is list:
            for index in indexes:
                at = index + len(value) if index < 0 else index
                if 0 <= at < len(value):
                    yield Match(value[at], value, at)

    return step


def _by_slice(start: int | None, stop: int | None, stride: int) -> Step:
    def step(node: Match, root: Any) -> Nodes:
        value = node.value
        if type(value) is list and stride > 0:
            for index in range(*slice(start, stop, stride).indices(len(value))):
                yield Match(value[index], value, index)

    return step


def _scan(inner: Step) -> Step:
    """The step, taken from the node itself and from everything below it."""

    def step(node: Match, root: Any) -> Nodes:
        waiting = [node]
        while waiting:
            current = waiting.pop()
            yield from inner(current, root)
            waiting.extend(reversed([child for child in _every(current, root) if type(child.value) in (dict, list)]))

    return step


Test = Callable[[Any, Any], bool]
Operand = Callable[[Any, Any], "list[Any]"]


def _where(test: Test) -> Step:
    def step(node: Match, root: Any) -> Nodes:
        if type(node.value) is list:
            for child in _every(node, root):
                if test(child.value, root):
                    yield child
        elif test(node.value, root):
            yield node

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
        return re.search(right, left) is not None
    except re.error:
        return False


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": _same,
    "!=": _same,
    "<=": _ordered(operator.le),
    ">=": _ordered(operator.ge),
    "=~": _matches_pattern,
    "<": _ordered(operator.lt),
    ">": _ordered(operator.gt),
}

_NAME: Final = re.compile(r"[A-Za-z0-9_\-`~+#%$^/:]+")  # others have to be in brackets and quotes
_INTEGER: Final = re.compile(r"-?\d+")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_BLANK: Final = re.compile(r"\s*")


class _Reader:
    """Reads a path left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.last_name: str | None = None
        self.is_static = True

    def error(self, expected: str) -> PathSyntaxError:
        return PathSyntaxError(self.text, self.position, expected)

    def peek(self, token: str) -> bool:
        return self.text.startswith(token, self.position)

    def take(self, token: str) -> bool:
        if not self.peek(token):
            return False
        self.position += len(token)
        return True

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self.error(f"'{token}'")

    def pattern(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return found[0]

    def blank(self) -> None:
        self.pattern(_BLANK)

    def steps(self) -> list[Step]:
        steps: list[Step] = []
        while True:
            if self.take(".."):
                steps.append(_scan(self.bracket() if self.peek("[") else self.dotted()))
                self.last_name = None
                self.is_static = False
            elif self.take("."):
                steps.append(self.bracket() if self.peek("[") else self.dotted())
            elif self.peek("["):
                steps.append(self.bracket())
            else:
                return steps

    def dotted(self) -> Step:
        if self.take("*"):
            self.last_name = None
            self.is_static = False
            return _every
        name = self.pattern(_NAME)
        if name is None:
            raise self.error("a name or '*'")
        self.last_name = name
        return _by_names((name,))

    def bracket(self) -> Step:
        self.expect("[")
        self.blank()
        self.last_name = None
        if self.take("*"):
            self.is_static = False
            step: Step = _every
        elif self.take("?"):
            self.is_static = False
            self.blank()
            self.expect("(")
            step = _where(self.any_of())
            self.blank()
            self.expect(")")
        elif self.peek("'") or self.peek('"'):
            names = [self.string()]
            while self.comma():
                names.append(self.string())
            step = _by_names(tuple(names))
            if len(names) == 1:
                self.last_name = names[0]
            else:
                self.is_static = False
        else:
            step = self.indexes()
        self.blank()
        self.expect("]")
        return step

    def comma(self) -> bool:
        self.blank()
        found = self.take(",")
        self.blank()
        return found

    def indexes(self) -> Step:
        first = self.integer()
        self.blank()
        if self.take(":"):
            self.is_static = False
            self.blank()
            stop = self.integer()
            self.blank()
            stride = 1
            if self.take(":"):
                self.blank()
                given = self.integer()
                stride = 1 if given is None else given
            return _by_slice(first, stop, stride)
        if first is None:
            raise self.error("an index, a name in quotes, '*', '?' or ':'")
        numbers = [first]
        while self.comma():
            number = self.integer()
            if number is None:
                raise self.error("an index")
            numbers.append(number)
            self.is_static = False
        return _by_indexes(tuple(numbers))

    def integer(self) -> int | None:
        digits = self.pattern(_INTEGER)
        return None if digits is None else int(digits)

    def string(self) -> str:
        quote = self.text[self.position : self.position + 1]
        if quote not in ("'", '"') or not quote:
            raise self.error("a string in quotes")
        self.position += 1
        parts: list[str] = []
        while True:
            char = self.text[self.position : self.position + 1]
            self.position += 1
            if not char:
                raise self.error(f"the closing {quote}")
            if char == quote:
                return "".join(parts)
            if char == "\\" and self.text[self.position : self.position + 1] in (quote, "\\"):
                char = self.text[self.position]
                self.position += 1
            parts.append(char)

    # Filters: or, and, not, comparison, operand.

    def any_of(self) -> Test:
        tests = [self.all_of()]
        while self.after_blank("||"):
            tests.append(self.all_of())
        return tests[0] if len(tests) == 1 else lambda value, root: any(test(value, root) for test in tests)

    def all_of(self) -> Test:
        tests = [self.test()]
        while self.after_blank("&&"):
            tests.append(self.test())
        return tests[0] if len(tests) == 1 else lambda value, root: all(test(value, root) for test in tests)

    def after_blank(self, token: str) -> bool:
        self.blank()
        return self.take(token)

    def test(self) -> Test:
        self.blank()
        if self.take("!"):
            return _negated(self.test())
        if self.take("("):
            inner = self.any_of()
            self.blank()
            self.expect(")")
            return inner
        left = self.operand()
        self.blank()
        for token, compare in _OPERATORS.items():
            if self.take(token):
                test = _comparison(left, compare, self.operand())
                return _negated(test) if token == "!=" else test  # unequal is also what leads nowhere
        return lambda value, root: bool(left(value, root))

    def operand(self) -> Operand:
        self.blank()
        if self.peek("@") or self.peek("$"):
            from_root = self.take("$")
            if not from_root:
                self.take("@")
            path = tuple(self.steps())
            return _path_operand(path, from_root)
        if self.peek("'") or self.peek('"'):
            return _constant(self.string())
        for word, value in (("true", True), ("false", False), ("null", None)):
            if self.take(word):
                return _constant(value)
        number = self.pattern(_NUMBER)
        if number is None:
            raise self.error("a value")
        return _constant(float(number) if any(char in number for char in ".eE") else int(number))


def _constant(value: Any) -> Operand:
    found = [value]
    return lambda current, root: found


def _path_operand(steps: tuple[Step, ...], from_root: bool) -> Operand:
    def values(current: Any, root: Any) -> list[Any]:
        found = [Match(root if from_root else current, None, None)]
        for step in steps:
            found = [match for node in found for match in step(node, root)]
        return [match.value for match in found]

    return values


def _negated(test: Test) -> Test:
    return lambda value, root: not test(value, root)


def _comparison(left: Operand, compare: Callable[[Any, Any], bool], right: Operand) -> Test:
    def test(value: Any, root: Any) -> bool:
        ours, theirs = left(value, root), right(value, root)
        return len(ours) == 1 and len(theirs) == 1 and compare(ours[0], theirs[0])

    return test
