"""`parse_filter`: text such as ``agent = "x" and duration > 2s`` parsed to expressions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from relay_models.columns.column import OPERATORS, Column, find_column, operator_for
from relay_models.columns.expressions import NOTHING, Everything, Expression, all_of, any_of
from relay_models.columns.info import unquote
from relay_models.columns.operators import refused
from relay_models.errors import FilterSyntaxError, QueryError, UnknownColumnError, UnsupportedOperatorError
from relay_models.query.language.literals import LiteralReader

__all__ = ["parse_filter"]

_GRAMMAR = r"""
?start: either
?either: both (_OR both)*            -> either
?both: single (_AND single)*         -> both
?single: _NOT single                 -> negation
       | "(" either ")"
       | ALL                         -> everything
       | NONE                        -> nothing
       | condition
condition: name OPERATOR value                   -> compare
         | name VERB value                       -> verb
         | name _NOT VERB value                  -> not_verb
         | name _IN _list                        -> one_of
         | name _NOT _IN _list                   -> none_of
         | name HAS value                        -> verb
         | name _NOT HAS value                   -> not_verb
         | name HAS (ALL | ANY | NONE) _list     -> has_many
         | name _BETWEEN value _AND value        -> between
         | name _IS (MISSING | PRESENT)          -> state
         | name _IS _NOT (MISSING | PRESENT)     -> not_state
name: WORD | MEMBER
value: WORD | STRING
_list: LIST | list
list: "(" [value ("," value)*] ")"

OPERATOR: "!~" | "!=" | "<>" | "<=" | ">=" | "==" | "=" | "<" | ">" | "~"
_AND.2: /and(?![^\s()"',=!<>~])/i
_OR.2: /or(?![^\s()"',=!<>~])/i
_NOT.2: /not(?![^\s()"',=!<>~])/i
_IN.2: /in(?![^\s()"',=!<>~])/i
_IS.2: /is(?![^\s()"',=!<>~])/i
_BETWEEN.2: /between(?![^\s()"',=!<>~])/i
HAS.2: /has(?![^\s()"',=!<>~])/i
VERB.2: /(%VERBS%)(?![^\s()"',=!<>~])/i
ALL.2: /all(?![^\s()"',=!<>~])/i
ANY.2: /any(?![^\s()"',=!<>~])/i
NONE.2: /none(?![^\s()"',=!<>~])/i
MISSING.2: /(missing|null|none|empty)(?![^\s()"',=!<>~])/i
PRESENT.2: /present(?![^\s()"',=!<>~])/i
MEMBER.3: /[A-Za-z_]+\.(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')/s
STRING: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
WORD: /[^\s()"',=!<>~]+/
LIST.3: /\(\s*(?:%ITEM%\s*(?:,\s*%ITEM%\s*)*)?\)/s
%ignore /\s+/
"""

# A value of a list. Whole lists are one token: the grammar reads a list only to point at what is wrong in it.
_ITEM = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s()"',=!<>~]+)"""
# Operators that are a word and take one value; those that are not written so have rules of their own.
_VERBS = [
    text
    for known in OPERATORS.values()
    for text in known.texts
    if text.isalpha() and text not in ("has", "in", "between")
]
_MEANING = {
    "WORD": "a column or a value",
    "STRING": "a quoted text",
    "OPERATOR": "= != < <= > >= ~ !~",
    "VERB": ", ".join(_VERBS),
    "LIST": "( and a list of values",
    "HAS": "has",
    "_IN": "in",
    "_IS": "is missing, is present",
    "_BETWEEN": "between",
    "_AND": "and",
    "_OR": "or",
    "_NOT": "not",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": ",",
    "ALL": "all",
    "ANY": "any",
    "NONE": "none",
    "MISSING": "missing",
    "PRESENT": "present",
    "$END": "the end",
}
_ITEMS = re.compile(_ITEM, re.DOTALL)
# The operators that compare with whole texts.
_EQUALITIES = frozenset({"__eq__", "has", "has_any", "has_all", "has_none"})
# Maximum length of texts whose trees are cached (characters).
_MOST_CACHED = 1000


@cache
def _parser() -> Lark:
    grammar = _GRAMMAR.replace("%VERBS%", "|".join(_VERBS)).replace("%ITEM%", _ITEM)
    return Lark(grammar, parser="lalr", lexer="contextual", propagate_positions=True, maybe_placeholders=False)


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """The tree of a text that may be asked again; it depends on nothing else, and is not changed."""
    return _parser().parse(text)


def parse_filter(
    text: str,
    columns: Mapping[str, Column[Any]],
    *,
    now: datetime | None = None,
    tz: tzinfo | None = None,
) -> Expression:
    """The expression that a text of the filter language means.

    Args:
        text: such as ``agent = "x" and (model in ("gpt-4.1", "o4-mini") or tool ~ "sql*") and duration > 2s``; ``all``
            is every document.
        columns: the columns there are, by name: ``Run.columns()``.
        now: what relative times (``-24h``, ``today``) count from; the present unless given.
        tz: of times and dates without a zone; UTC unless given.

    Raises:
        FilterSyntaxError: the text does not parse, or a value is not what its column takes; points at the position.
        UnknownColumnError: there is no such column; says which is close.
        UnsupportedOperatorError: the column has no such operator.
    """
    if not isinstance(text, str) or not text.strip():
        raise FilterSyntaxError("the filter is empty; to select everything, write: all", str(text), 0)
    zone = tz or UTC
    try:
        tree = _parsed(text) if len(text) <= _MOST_CACHED else _parser().parse(text)
        return _Builder(text, columns, LiteralReader((now or datetime.now(UTC)).astimezone(zone), zone)).build(tree)
    except UnexpectedInput as error:
        raise _syntax_error(text, error, columns) from None
    except RecursionError:
        raise FilterSyntaxError("the filter is nested too deeply", text, 0) from None


class _Builder:
    """Turns a parse tree into an expression, with the position of every mistake."""

    def __init__(self, text: str, columns: Mapping[str, Column[Any]], literals: LiteralReader) -> None:
        self.text = text
        self.columns = columns
        self.literals = literals

    def build(self, tree: Any) -> Expression:
        """The expression of a (sub)tree."""
        children = tree.children
        match str(tree.data):
            case "either":
                return any_of([self.build(child) for child in children])
            case "both":
                return all_of([self.build(child) for child in children])
            case "negation":
                return ~self.build(children[0])
            case "everything":
                return Everything()
            case "nothing":
                return NOTHING
        token = children[0].children[0]
        column = self.column(token)
        try:
            return self.condition(str(tree.data), column, children[1:])
        except UnsupportedOperatorError as error:
            raise UnsupportedOperatorError(f"{error}\n{_caret(self.text, token)}") from None
        except FilterSyntaxError:
            raise
        except QueryError as error:
            raise FilterSyntaxError(f"{error}\n{_caret(self.text, token)}", self.text, token.start_pos) from None

    def condition(self, rule: str, column: Column[Any], rest: Sequence[Any]) -> Expression:
        """A condition on one column."""
        match rule:
            case "compare":
                return self.compare(column, str(rest[0]), rest[1].children[0])
            case "verb" | "not_verb":
                found = self.apply(column, str(rest[0]).lower(), [rest[1].children[0]])
                return found if rule == "verb" else ~found
            case "one_of" | "none_of":
                found = any_of([self.compare(column, "=", value) for value in self.values(rest[0])])
                return found if rule == "one_of" else ~found
            case "has_many":
                return self.apply(column, f"has {str(rest[1]).lower()}", self.values(rest[2]), several=True)
            case "between":
                low, high = (self.compare(column, sign, node.children[0])
                             for sign, node in zip((">=", "<="), rest, strict=True))  # fmt: skip
                return low & high
            case _:
                present = (str(rest[0]).lower() == "present") == (rule == "state")
                return column.present() if present else column.missing()

    def compare(self, column: Column[Any], sign: str, token: Token) -> Expression:
        """``column = value`` and its like."""
        if sign in ("!=", "<>", "!~"):
            return ~self.compare(column, "~" if sign == "!~" else "=", token)
        if not column.ordered:
            return self.apply(column, sign, [token])
        if operator_for(column.kind, sign) is None:
            raise refused(column, sign, in_text=True)
        text = self.string(token)
        try:
            return self.literals.compare(
                column, "==" if sign == "=" else sign, str(column.type.members.get(text, text))
            )
        except ValueError as error:
            raise self.fault(
                token, f"{column.name} is {_choices(column)}" if column.type.members else str(error)
            ) from None

    def apply(self, column: Column[Any], text: str, tokens: Sequence[Token], several: bool = False) -> Expression:
        """The operator that is written so, with the texts that it is given."""
        found = operator_for(column.kind, text)
        if found is None:
            raise refused(column, text, in_text=True)
        given = [self.string(token) for token in tokens]
        self.refuse_sql(column, text, tokens[0], given[0])
        if found.method in _EQUALITIES and column.choices:
            given = [self.choice(column, token, value) for token, value in zip(tokens, given, strict=True)]
        return getattr(column, found.method)(given if several else given[0])  # type: ignore[no-any-return]

    def choice(self, column: Column[Any], token: Token, value: str) -> str:
        """A value of a column that has few; of an enum the name of a member, too. What is quoted is meant literally."""
        if value in column.choices or token.type == "STRING":
            return value
        if value in column.type.members:
            return str(column.type.members[value])
        raise self.fault(
            token, f"{column.name} is {_choices(column)}{_closest(value, [*column.choices, *column.type.members])}"
        )

    def refuse_sql(self, column: Column[Any], operator: str, token: Token, value: str) -> None:
        """Refuse what has another meaning in SQL, and would find nothing here."""
        if operator == "like" and "%" in value and not any(sign in value for sign in "*?"):
            meant = value.replace("%", "*")
            raise self.fault(token, f'like takes * for any characters and ? for any one: write "{meant}", or ~ for a %')
        if operator in ("=", "==") and token.type != "STRING" and value.lower() == "null":
            raise self.fault(token, f'write {column.name} is missing; the text is written in quotes: "{value}"')

    def values(self, node: Any) -> list[Token]:
        """The values of a list."""
        if isinstance(node, Token):
            start = node.start_pos or 0
            return [
                Token("STRING" if found[0][0] in "\"'" else "WORD", found[0], start_pos=start + found.start())
                for found in _ITEMS.finditer(node)
            ]
        return [value.children[0] for value in node.children]

    def column(self, token: Token) -> Column[Any]:
        """The column that a name means."""
        name = str(token)
        try:
            found = find_column(self.columns, name)
        except ValueError as error:
            raise self.fault(token, str(error)) from None
        if found is None:
            short = [alias for known in self.columns.values() for alias in known.aliases]
            near = _closest(name, [*self.columns, *short])
            raise UnknownColumnError(
                f"there is no column {name!r}{f'{near} There' if near else '; there'} are {', '.join(self.columns)}\n"
                f"{_caret(self.text, token)}",
                name,
                self.columns,
            )
        return found

    def string(self, token: Any) -> str:
        """The text of a value, without its quotes."""
        if token.type != "STRING":
            return str(token)
        try:
            return unquote(str(token))
        except ValueError as error:
            raise self.fault(token, str(error)) from None

    def fault(self, token: Any, message: str) -> FilterSyntaxError:
        return FilterSyntaxError(f"{message}\n{_caret(self.text, token)}", self.text, token.start_pos or 0)


def _choices(column: Column[Any]) -> str:
    """The values that a column of few may have; of an enum with the names that are written otherwise."""
    names: dict[str | int, str] = {}
    for name, value in column.type.members.items():
        names.setdefault(value, name)
    values: Iterable[str | int] = column.choices or names
    return " or ".join(
        f"{value} ({names[value]})" if names.get(value, value) != value else str(value) for value in values
    )


def _closest(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _caret(text: str, token: Any) -> str:
    start = token.start_pos or 0
    return _mark(text, start, max(1, len(str(token))))


def _mark(text: str, position: int, width: int = 1) -> str:
    """The line of a text with carets under a part of it."""
    begin = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[begin:] if end < 0 else text[begin:end]
    column = position - begin
    shown = line.replace("\t", " ")
    if len(shown) > 100:  # a long filter: the part around the fault
        cut = max(0, column - 50)
        shown, column = shown[cut : cut + 100], column - cut
    return f"  {shown}\n  {' ' * column}{'^' * max(1, min(width, len(shown) - column))}"


def _syntax_error(text: str, error: UnexpectedInput, columns: Mapping[str, Column[Any]]) -> FilterSyntaxError:
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        position, found = error.token.start_pos or 0, str(error.token)
        expected = set(error.accepts or error.expected)
    elif isinstance(error, UnexpectedCharacters):
        position = error.pos_in_stream or 0
        found = text[position : position + 1]
        expected = set(error.allowed or ())
    else:
        position, found = len(text.rstrip()), ""
        expected = set(getattr(error, "accepts", None) or getattr(error, "expected", ()) or ())
        if isinstance(error, UnexpectedEOF):
            expected = set(error.expected)
    if found in ('"', "'"):
        message = f"this quote is never closed: end it with {found}, and write \\{found} for one inside"
    else:
        wanted = [meaning for name, meaning in _MEANING.items() if name in expected]
        what = f"{found!r} is not expected here" if found else "the filter ends too soon"
        before = text[:position].split()
        if found in ("&", "|", "&&", "||"):
            what += f": write {'and' if '&' in found else 'or'}"
        elif "OPERATOR" in expected and before:
            what += f"; after {before[-1]!r} comes an operator (a value with blanks is quoted)"
        message = f"{what}; expected: {', '.join(wanted)}" if wanted else what
    return FilterSyntaxError(f"{message}\n{_mark(text, position, len(found))}", text, position)
