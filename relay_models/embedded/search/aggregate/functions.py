"""The functions of APPLY and FILTER expressions. Each takes the row's evaluated arguments."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Final

from relay_models.embedded.search.aggregate.times import read_time
from relay_models.embedded.search.arguments import display, parse_strictly
from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.index.documents import Value, single
from relay_models.embedded.search.numbers import INVALID, format_number

__all__ = ["FUNCTIONS", "to_number", "truth"]

Function = Callable[[list[Value]], Value]

_TYPE_NUMBERS = {float: 1, bytes: 3, type(None): 4, list: 6}


def to_number(value: Value) -> float | None:
    """A value as a number, or None."""
    value = single(value)
    if type(value) is float:
        return value
    return parse_strictly(value.lstrip(b" \t\n\v\f\r")) if type(value) is bytes else None


def truth(value: Value) -> bool:
    """Numbers are true unless 0, texts and lists unless empty; null is false."""
    value = single(value)
    return bool(value) if value is not None else False


def _text(value: Value) -> bytes | None:
    value = single(value)
    return value if type(value) is bytes else None


def _need_text(name: str, arguments: list[Value], place: int) -> bytes:
    value = _text(arguments[place])
    if value is None:
        kind = _TYPE_NUMBERS.get(type(single(arguments[place])), 0)
        raise SearchError(
            f"Invalid type ({kind}) for argument {place} in function '{name}'. VALIDATE_ARG__STRING(v, 0) was false."
        )
    return value


def _need_number(name: str, arguments: list[Value], place: int) -> float:
    value = single(arguments[place])
    if type(value) is not float:
        kind = _TYPE_NUMBERS.get(type(value), 0)
        raise SearchError(
            f"Invalid type ({kind}) for argument {place} in function '{name}'."
            " VALIDATE_ARG__TYPE(v, RSValue_Number) was false."
        )
    return value


def _math(function: Callable[[float], float]) -> Function:
    def run(arguments: list[Value]) -> Value:
        number = to_number(arguments[0])
        return math.nan if number is None else function(number)

    return run


def _log(number: float) -> float:
    if number == 0:
        return -math.inf
    return math.log(number) if number > 0 else number if number != number else INVALID


def _log2(number: float) -> float:
    if number == 0:
        return -math.inf
    return math.log2(number) if number > 0 else number if number != number else INVALID


def _sqrt(number: float) -> float:
    return math.sqrt(number) if number >= 0 else number if number != number else INVALID


def _exp(number: float) -> float:
    try:
        return math.exp(number)
    except OverflowError:
        return math.inf


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda number: float(function(number)) if math.isfinite(number) else number


def _lower(arguments: list[Value]) -> Value:
    text = _text(arguments[0])
    return None if text is None else text.lower()


def _upper(arguments: list[Value]) -> Value:
    text = _text(arguments[0])
    return None if text is None else text.upper()


def _int32(number: float) -> int:
    """A number truncated to 32 bits as in C: one that does not fit is the minimum."""
    return int(number) if abs(number) < 1 << 31 else -1 << 31


def _substr(arguments: list[Value]) -> Value:
    start, length = _int32(_need_number("substr", arguments, 1)), _int32(_need_number("substr", arguments, 2))
    text = _text(arguments[0])
    if text is None:
        raise SearchError("Invalid type for substr. Expected string")
    if start < 0:
        start += len(text)
    if not 0 <= start <= len(text):
        start = len(text)
    if length < 0:
        length = max(0, len(text) - start + length)
    return text[start : start + length]


def _to_number(arguments: list[Value]) -> Value:
    number = to_number(arguments[0])
    if number is None:
        text = _text(arguments[0])
        raise SearchError(f"to_number: cannot convert string '{'(null)' if text is None else display(text)}'")
    return number


def _to_str(arguments: list[Value]) -> Value:
    value = single(arguments[0])
    if type(value) is float:
        return format_number(value)
    return value if type(value) is bytes else b""


def _format(arguments: list[Value]) -> Value:
    pattern, rest = _need_text("format", arguments, 0), arguments[1:]
    parts: list[bytes] = []
    at = used = 0
    while True:
        mark = pattern.find(b"%", at)
        if mark < 0:
            parts.append(pattern[at:])
            return b"".join(parts)
        if mark == len(pattern) - 1:
            raise SearchError("Bad format string!")
        parts.append(pattern[at:mark])
        kind = pattern[mark + 1 : mark + 2]
        at = mark + 2
        if kind == b"%":
            parts.append(b"%")
            continue
        if used == len(rest):
            raise SearchError("Not enough arguments for format")
        raw = rest[used]
        value = single(raw)
        used += 1
        if kind != b"s":
            raise SearchError("Unknown format specifier passed")
        parts.append(b"(null)" if raw is None else _to_str([value]) or b"")


def _split(arguments: list[Value]) -> Value:
    text = _need_text("split", arguments, 0)
    separators = _need_text("split", arguments, 1) if len(arguments) > 1 else b","
    strip = _need_text("split", arguments, 2) if len(arguments) > 2 else b" "
    parts = re.split(b"[" + re.escape(separators) + b"]", text) if separators else [text]
    found = [part.strip(strip) if strip else part for part in parts]
    return [part for part in found if part][:1024]


def _exists(arguments: list[Value]) -> Value:
    return 0.0 if arguments[0] is None else 1.0


def _starts_with(arguments: list[Value]) -> Value:
    return float(_need_text("startswith", arguments, 0).startswith(_need_text("startswith", arguments, 1)))


def _contains(arguments: list[Value]) -> Value:
    text, part = _need_text("contains", arguments, 0), _need_text("contains", arguments, 1)
    if not part:
        return float(len(text) + 1)
    count, at = 0, text.find(part)
    while at >= 0:
        count, at = count + 1, text.find(part, at + 1)
    return float(count)


def _strlen(arguments: list[Value]) -> Value:
    return float(len(_need_text("strlen", arguments, 0)))


def _matched_terms(arguments: list[Value]) -> Value:
    return None


def _gmtime(value: Value, *, negative: bool = False) -> time.struct_time | None:
    number = to_number(value)
    if number is None or not math.isfinite(number) or (number < 0 and not negative):
        return None
    try:
        return time.gmtime(int(number))
    except (OverflowError, ValueError, OSError):
        return None


# Bytes of a formatted time, as many as the real server's buffer has.
MAX_TIME_TEXT: Final = 1023


def _time_format(arguments: list[Value]) -> Value:
    pattern = "%Y-%m-%dT%H:%M:%SZ"
    if len(arguments) == 2:
        given = single(arguments[1])
        if type(given) is not bytes:
            kind = _TYPE_NUMBERS.get(type(given), 0)
            raise SearchError(
                f"Invalid type ({kind}) for argument 1 in function 'time'."
                " VALIDATE_ARG__TYPE(v, RSValue_String) was false."
            )
        pattern = display(given)
    moment = _gmtime(arguments[0], negative=True)
    if moment is None or len(pattern) > 2 * MAX_TIME_TEXT:
        return None
    try:
        text = time.strftime(pattern, moment).encode()
    except ValueError:
        return None
    return text if 0 < len(text) <= MAX_TIME_TEXT else None


def _parse_time(arguments: list[Value]) -> Value:
    text, pattern = _need_text("parsetime", arguments, 0), _need_text("parsetime", arguments, 1)
    seconds = read_time(display(text), display(pattern))
    return None if seconds is None else float(seconds)


def _rounded(arguments: list[Value], seconds: Callable[[time.struct_time], int]) -> Value:
    moment = _gmtime(arguments[0])
    if moment is None:
        return None
    years = moment.tm_year - 1970
    # Leap years as the real server counts them: every fourth, whatever the century.
    days = moment.tm_yday - 1 + years * 365 + (years + 1) // 4
    return float(days * 86400 + moment.tm_hour * 3600 + moment.tm_min * 60 + moment.tm_sec - seconds(moment))


def _hour(arguments: list[Value]) -> Value:
    return _rounded(arguments, lambda t: t.tm_min * 60 + t.tm_sec)


def _minute(arguments: list[Value]) -> Value:
    number = to_number(arguments[0])
    if number is None or number < 0:
        return None
    return math.nan if not math.isfinite(number) else float(math.floor(number - math.fmod(number, 60)))


def _of_day(moment: time.struct_time) -> int:
    return moment.tm_hour * 3600 + moment.tm_min * 60 + moment.tm_sec


def _day(arguments: list[Value]) -> Value:
    return _rounded(arguments, _of_day)


def _month(arguments: list[Value]) -> Value:
    return _rounded(arguments, lambda t: _of_day(t) + (t.tm_mday - 1) * 86400)


def _calendar(pick: Callable[[time.struct_time], int]) -> Function:
    def run(arguments: list[Value]) -> Value:
        moment = _gmtime(arguments[0])
        return None if moment is None else float(pick(moment))

    return run


def _geo(arguments: list[Value]) -> Value:
    raise UnsupportedError("geo functions are")


FUNCTIONS: Final[dict[str, tuple[Function, int, int]]] = {
    # name: (function, minimum and maximum of arguments)
    "log": (_math(_log), 1, 1),
    "floor": (_math(_whole(math.floor)), 1, 1),
    "abs": (_math(abs), 1, 1),
    "ceil": (_math(_whole(math.ceil)), 1, 1),
    "sqrt": (_math(_sqrt), 1, 1),
    "log2": (_math(_log2), 1, 1),
    "exp": (_math(_exp), 1, 1),
    "timefmt": (_time_format, 1, 2),
    "parsetime": (_parse_time, 2, 2),
    "hour": (_hour, 1, 1),
    "minute": (_minute, 1, 1),
    "day": (_day, 1, 1),
    "month": (_month, 1, 1),
    "monthofyear": (_calendar(lambda t: t.tm_mon - 1), 1, 1),
    "year": (_calendar(lambda t: t.tm_year), 1, 1),
    "dayofmonth": (_calendar(lambda t: t.tm_mday), 1, 1),
    "dayofweek": (_calendar(lambda t: (t.tm_wday + 1) % 7), 1, 1),
    "dayofyear": (_calendar(lambda t: t.tm_yday - 1), 1, 1),
    "lower": (_lower, 1, 1),
    "upper": (_upper, 1, 1),
    "substr": (_substr, 3, 3),
    "format": (_format, 1, 65535),
    "split": (_split, 1, 3),
    "matched_terms": (_matched_terms, 0, 1),
    "to_number": (_to_number, 1, 1),
    "to_str": (_to_str, 1, 1),
    "exists": (_exists, 1, 1),
    "startswith": (_starts_with, 2, 2),
    "contains": (_contains, 2, 2),
    "strlen": (_strlen, 1, 1),
    "geodistance": (_geo, 2, 4),
}
