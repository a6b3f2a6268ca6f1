"""The grammar of RedisJSON's paths, parsed as its parser does, with the same error messages.

Its parser (pest) tries alternatives in order. Where none matches, it reports the furthest position it reached and the
rules that it tried there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["PathSyntaxError", "RuleNode", "read_path"]


# Characters of a path: each takes up to ten microseconds, and other clients wait meanwhile.
MAX_PATH: Final = 65_536


class PathSyntaxError(ValueError):
    """A path that cannot be parsed. `position` is the offset in bytes where parsing stopped."""

    def __init__(self, path: str, position: int, expected: str) -> None:
        before, after = (part.decode("utf-8", "replace") for part in _cut(path, position))
        where = f'"{path} <<<<----"' if not after else f'"{before} ---->>>> {after}"'
        text = f"Error occurred on position {position}, {where}, expected one of the following: {expected}."
        # The real server sends the low byte of each character.
        super().__init__("".join(map(_low, text)))
        self.position = position


def _cut(path: str, position: int) -> tuple[bytes, bytes]:
    encoded = path.encode("utf-8", "surrogatepass")
    return encoded[:position], encoded[position:]


def _low(char: str) -> str:
    low = ord(char) & 0xFF
    return chr(low) if low < 0x80 else "\ufffd"


class RuleNode(NamedTuple):
    """A rule that matched: its name, the text it consumed, and the rules within."""

    rule: str
    text: str
    children: tuple[RuleNode, ...]


# The rules in the order of error messages.
_ORDER: Final = (
    *("EOI", "literal", "string_list", "number", "decimal", "numbers_list", "numbers_range", "right_range"),
    *("all_range", "left_range", "full_range", "from_current", "from_root", "ge", "gt", "le", "lt", "eq", "ne", "re"),
    *("boolean_true", "boolean_false", "null", "single_filter", "and", "or", "filter", "all", "full_scan", "root"),
    *("string_value", "string_value_escape_1", "string_value_escape_2", "pos_number"),
)
_SHOWN: Final = {
    "literal": "<string>",
    "all": "'*'",
    "full_scan": "'..'",
    "numbers_list": "'<number>[,<number>,...]'",
    "string_list": "'<string>[,<string>,...]'",
    "numbers_range": "['start:end:steps']",
    "number": "'<number>'",
    "filter": "'[?(filter_expression)]'",
}
Found = tuple[int, tuple[RuleNode, ...]] | None
Parse = Callable[["_State", int], Found]


class _State:
    """The text, and what was tried at the furthest position."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.furthest = 0
        self.tried: list[str] = []

    def tried_at(self, at: int) -> int:
        return len(self.tried) if self.furthest == at else 0


def _token(text: str) -> Parse:
    def parse(state: _State, at: int) -> Found:
        return (at + len(text), ()) if state.text.startswith(text, at) else None

    return parse


def _pattern(pattern: str) -> Parse:
    compiled = re.compile(pattern, re.DOTALL)

    def parse(state: _State, at: int) -> Found:
        found = compiled.match(state.text, at)
        return None if found is None else (found.end(), ())

    return parse


def _sequence(*parts: Parse) -> Parse:
    def parse(state: _State, at: int) -> Found:
        nodes: tuple[RuleNode, ...] = ()
        for number, part in enumerate(parts):
            if number:
                at = _skip(state, at)
            found = part(state, at)
            if found is None:
                return None
            at, nodes = found[0], nodes + found[1]
        return at, nodes

    return parse


def _skip(state: _State, at: int) -> int:
    while state.text.startswith(" ", at):
        at += 1
    return at


def _choice(*parts: Parse) -> Parse:
    def parse(state: _State, at: int) -> Found:
        for part in parts:
            found = part(state, at)
            if found is not None:
                return found
        return None

    return parse


def _optional(part: Parse) -> Parse:
    return lambda state, at: part(state, at) or (at, ())


def _repeated(part: Parse) -> Parse:
    def parse(state: _State, at: int) -> Found:
        nodes: list[RuleNode] = []
        found = part(state, at)
        while found is not None:
            at = found[0]
            nodes += found[1]
            found = part(state, _skip(state, at))
        return at, tuple(nodes)

    return parse


def _rule(name: str, part: Parse) -> Parse:
    """A rule that makes nodes and is named in messages."""

    def parse(state: _State, at: int) -> Found:
        before = state.tried_at(at)
        place = len(state.tried) if at == state.furthest else 0
        found = part(state, at)
        if found is not None:
            return found[0], (RuleNode(name, state.text[at : found[0]], found[1]),)
        if state.tried_at(at) - before == 1:
            return None  # the one rule within is more specific
        if at == state.furthest:
            del state.tried[place:]
        if at > state.furthest:
            state.tried.clear()
            state.furthest = at
        if at == state.furthest:
            state.tried.append(name)
        return None

    return parse


def _later(name: str) -> Parse:
    """A rule that is defined further down."""

    def parse(state: _State, at: int) -> Found:
        return _RULES[name](state, at)

    return parse


_literal = _rule("literal", _pattern(r"[a-zA-Z0-9\-_`~+#%$^/:]+"))
_string = _choice(
    _sequence(_token("'"), _rule("string_value", _pattern(r"[^\"\\']*")), _token("'")),
    _sequence(_token('"'), _rule("string_value", _pattern(r"[^\"\\']*")), _token('"')),
    _sequence(_token('"'), _rule("string_value_escape_1", _pattern(r'(?:[^"\\]|\\["\\])*')), _token('"')),
    _sequence(_token("'"), _rule("string_value_escape_2", _pattern(r"(?:[^'\\]|\\['\\])*")), _token("'")),
)
_string_list = _rule("string_list", _sequence(_string, _repeated(_sequence(_token(","), _string))))
_number = _rule("number", _pattern(r"-?[1-9][0-9]*|-?[0-9]"))
_pos_number = _rule("pos_number", _pattern(r"[1-9][0-9]*"))
_stride = _optional(_choice(_sequence(_token(":"), _pos_number), _token(":")))
_numbers_list = _rule("numbers_list", _sequence(_number, _repeated(_sequence(_token(","), _number))))
_numbers_range = _rule(
    "numbers_range",
    _choice(
        _rule("full_range", _sequence(_number, _token(":"), _number, _stride)),
        _rule("right_range", _sequence(_token(":"), _number, _stride)),
        _rule("all_range", _sequence(_token(":"), _stride)),
        _rule("left_range", _sequence(_number, _token(":"), _stride)),
    ),
)
_select = _choice(
    _rule("from_current", _sequence(_token("@"), _optional(_later("root")))),
    _rule("from_root", _sequence(_token("$"), _optional(_later("root")))),
)
_operator = _choice(
    *(
        _rule(name, _token(sign))
        for name, sign in (
            ("ge", ">="),
            ("gt", ">"),
            ("le", "<="),
            ("lt", "<"),
            ("eq", "=="),
            ("ne", "!="),
            ("re", "=~"),
        )
    )
)
_term = _choice(
    _select,
    _rule("decimal", _pattern(r"(?:-?[1-9][0-9]*|-?[0-9])(?:\.[0-9]+)?")),
    _string,
    _rule("boolean_true", _token("true")),
    _rule("boolean_false", _token("false")),
    _rule("null", _token("null")),
)
# Not a choice of two that begin with the same term: that takes twice as long for each level of nesting.
_single_filter = _rule("single_filter", _sequence(_term, _optional(_sequence(_operator, _term))))
_inner_filter = _choice(_single_filter, _sequence(_token("("), _later("filter"), _token(")")))
_relation = _choice(_rule("and", _token("&&")), _rule("or", _token("||")))
_all = _rule("all", _token("*"))
_bracket = _choice(_numbers_range, _numbers_list, _string_list, _all, _sequence(_token("?"), _later("filter")))
_in_brackets = _sequence(_token("["), _bracket, _token("]"))
_element = _choice(
    _sequence(_token("."), _literal),
    _sequence(_rule("full_scan", _token("..")), _choice(_literal, _all, _in_brackets)),
    _sequence(_token("."), _all),
    _sequence(_optional(_token(".")), _in_brackets),
)
_RULES: Final[dict[str, Parse]] = {
    "filter": _rule("filter", _sequence(_inner_filter, _repeated(_sequence(_relation, _inner_filter)))),
    "root": _rule("root", _sequence(_choice(_element, _choice(_literal, _all)), _repeated(_element))),
}
_END: Final = _rule("EOI", lambda state, at: (at, ()) if at == len(state.text) else None)
_QUERY: Final = _sequence(_token("$"), _optional(_later("root")), _END)


def read_path(text: str) -> tuple[RuleNode, ...]:
    """The elements of a path that begins with ``$``. Raises `PathSyntaxError`."""
    if len(text) > MAX_PATH:
        raise PathSyntaxError(text[:40], 0, f"a path of up to {MAX_PATH} characters")
    state = _State(text)
    try:
        found = _QUERY(state, 0)
    except RecursionError:
        raise PathSyntaxError(text, 0, "a path that is nested less") from None
    if found is None:
        tried = sorted(set(state.tried), key=_ORDER.index)
        position = len(text[: state.furthest].encode("utf-8", "surrogatepass"))
        raise PathSyntaxError(text, position, ", ".join(_SHOWN.get(rule, rule) for rule in tried))
    return found[1][0].children if found[1][0].rule == "root" else ()
