"""`Timestamp`: an RFC 3339 instant with nanoseconds that keeps the text it was read from."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from functools import total_ordering
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from relay_models._checks import shown
from relay_models.errors import InvalidRecordError

__all__ = ["Timestamp"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

# A blank between date and time, and lower-case letters, are what RFC 3339 section 5.6 lets a writer choose.
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):\d\d:)(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)


@total_ordering
class Timestamp:
    """An instant as NeMo Relay writes it: RFC 3339 text with up to nanoseconds, always with an offset.

    The text is kept as it is, so what is read and written again is the same. Equality, order and hash go by the
    instant, in nanoseconds: two texts of one instant are equal, and an aware `datetime` compares as well.

    Args:
        value: RFC 3339 text, an aware `datetime` (microseconds), or another `Timestamp`.

    Raises:
        InvalidRecordError: The text is not RFC 3339 or names no instant, the datetime has no time zone, or the value
            is none of these.

    Example:
        ```python
        Timestamp("2026-11-23T11:19:08.736656086Z").nanoseconds  # 1795432748736656086
        ```
    """

    __slots__ = ("_nanoseconds", "_text")
    _text: str
    _nanoseconds: int

    def __init__(self, value: str | datetime | Timestamp) -> None:
        if isinstance(value, str):
            text = str(value)
            nanoseconds = _instant(text)
        elif isinstance(value, Timestamp):
            text, nanoseconds = value._text, value.nanoseconds
        elif isinstance(value, datetime):
            if value.tzinfo is None or value.utcoffset() is None:
                raise InvalidRecordError(
                    f"{shown(value)} has no time zone: pass an aware datetime, such as datetime.now(timezone.utc)"
                )
            text = value.isoformat()
            if text.endswith("+00:00"):
                text = text[:-6] + "Z"
            nanoseconds = _instant(text)
        else:
            raise InvalidRecordError(f"a timestamp is RFC 3339 text or an aware datetime, not {type(value).__name__}")
        _set(self, "_text", text)
        _set(self, "_nanoseconds", nanoseconds)

    @classmethod
    def now(cls) -> Timestamp:
        """Read the clock.

        Returns:
            The present time in UTC, with the clock's nanoseconds.
        """
        return cls.from_nanoseconds(time.time_ns())

    @classmethod
    def from_nanoseconds(cls, nanoseconds: int) -> Timestamp:
        """Make a timestamp from a number of nanoseconds, written in UTC.

        Args:
            nanoseconds: Nanoseconds since 1970-01-01T00:00:00Z.

        Returns:
            The timestamp.

        Raises:
            InvalidRecordError: It is no whole number, or the year is not within 1 to 9999.
        """
        if isinstance(nanoseconds, bool) or not isinstance(nanoseconds, int):
            raise InvalidRecordError(f"nanoseconds is a whole number, not {shown(nanoseconds)}")
        seconds, rest = divmod(nanoseconds, 1_000_000_000)
        try:
            text = (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
        except OverflowError:
            raise InvalidRecordError(f"{shown(nanoseconds)} ns after 1970 is outside of the years 1 to 9999") from None
        # As chrono prints it: no digits, or 3, 6 or 9 of them.
        digits = f"{rest:09}"
        while digits.endswith("000"):
            digits = digits[:-3]
        return cls(f"{text}.{digits}Z" if digits else f"{text}Z")

    @property
    def text(self) -> str:
        """The RFC 3339 text, as it was read."""
        return self._text

    @property
    def nanoseconds(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z (digits past the ninth are cut)."""
        try:
            return self._nanoseconds
        except AttributeError:
            # Only what `_from_text` has found to be in NeMo Relay's own form has no number yet.
            text = self._text
            difference = _parse_datetime(f"{text[:19]}+00:00") - _EPOCH
            nanoseconds = (difference.days * 86_400 + difference.seconds) * 1_000_000_000
            if len(text) > 20:
                nanoseconds += int(text[20:-1][:9].ljust(9, "0"))
            _set(self, "_nanoseconds", nanoseconds)
            return nanoseconds

    @property
    def microseconds(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z, rounded down: what the time columns hold."""
        return self.nanoseconds // 1000

    @property
    def datetime(self) -> datetime:
        """The instant as an aware `datetime`, in the offset of the text, cut to microseconds.

        Raises:
            OverflowError: only for the leap second at the end of the year 9999.
        """
        text = self._text
        leap = text[17:19] == "60"
        if leap:
            text = f"{text[:17]}59{text[19:]}"
        value = datetime.fromisoformat(text.upper())
        return value + _SECOND if leap else value

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Timestamp({self._text!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Timestamp):
            return self._text == other._text or self.nanoseconds == other.nanoseconds
        if isinstance(other, datetime):
            nanoseconds = _of_datetime(other)
            return nanoseconds is not None and self.nanoseconds == nanoseconds
        return NotImplemented

    def __lt__(self, other: object) -> bool:
        if isinstance(other, Timestamp):
            return self.nanoseconds < other.nanoseconds
        if isinstance(other, datetime):
            nanoseconds = _of_datetime(other)
            if nanoseconds is None:
                raise TypeError("a Timestamp cannot be compared with a datetime that has no time zone")
            return self.nanoseconds < nanoseconds
        return NotImplemented

    def __hash__(self) -> int:
        # What equals a datetime has to hash as it does.
        micros, rest = divmod(self.nanoseconds, 1000)
        if rest:
            return hash(self.nanoseconds)
        try:
            return hash(_EPOCH + timedelta(microseconds=micros))
        except OverflowError:  # an instant in year 1 or 9999 whose UTC date is outside of what datetime has
            return hash(self.datetime)

    def __sub__(self, other: object) -> timedelta:
        """The time from `other` to this instant, cut to microseconds."""
        if isinstance(other, Timestamp):
            return timedelta(microseconds=(self.nanoseconds - other.nanoseconds) // 1000)
        if isinstance(other, datetime):
            nanoseconds = _of_datetime(other)
            if nanoseconds is not None:
                return timedelta(microseconds=(self.nanoseconds - nanoseconds) // 1000)
        return NotImplemented

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Timestamp does not change: assign a new one instead of setting {shown(name)}")

    def __reduce__(self) -> tuple[type[Timestamp], tuple[str]]:
        return Timestamp, (self._text,)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(_from_text, core_schema.str_schema(strict=True)),
            python_schema=core_schema.no_info_plain_validator_function(_from_python),
            serialization=core_schema.to_string_ser_schema(when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


_new = object.__new__
_set = object.__setattr__
_set_text = Timestamp.__dict__["_text"].__set__
_parse_datetime = datetime.fromisoformat


def _instant(text: str) -> int:
    """Nanoseconds since 1970 of RFC 3339 text; ValueError says what is wrong with it."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise InvalidRecordError(
            f"{text[:60]!r} is not an RFC 3339 time with an offset, such as '2026-11-23T11:19:08.736656086Z'"
        )
    date, clock, seconds, fraction, sign, hours, minutes = match.groups()
    leap = seconds == "60"
    try:
        value = _parse_datetime(f"{date}T{clock}{'59' if leap else seconds}+00:00")
    except ValueError as error:
        raise InvalidRecordError(f"{text[:60]!r} names no instant: {error}") from None
    difference = value - _EPOCH
    whole = difference.days * 86_400 + difference.seconds + leap
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        whole = whole - offset if sign == "+" else whole + offset
    return whole * 1_000_000_000 + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


def _of_datetime(value: datetime) -> int | None:
    offset = value.utcoffset()
    if offset is None:
        return None
    difference = value.replace(tzinfo=UTC) - _EPOCH - offset
    return (difference.days * 86_400_000_000 + difference.seconds * 1_000_000 + difference.microseconds) * 1000


def _from_text(text: str) -> Timestamp:
    # The form that NeMo Relay writes is checked here by the C parser, and turned into a number only when it is
    # needed. All other forms are matched in full: the C parser accepts too much, as it stops at the sixth digit.
    marks = text[4:20:3]
    if (
        ((marks == "--T::." and text[-1] == "Z" and text[20:-1].isdigit()) or (marks == "--T::Z" and len(text) == 20))
        and text.isascii()
        and text[11:13] != "24"
    ):
        try:
            _parse_datetime(text)
        except ValueError:
            pass
        else:
            stamp = _new(Timestamp)
            _set_text(stamp, text)
            return stamp
    try:
        return Timestamp(text)
    except ValueError as error:
        raise PydanticCustomError("timestamp", "{reason}", {"reason": str(error)}) from None


def _from_python(value: Any) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    try:
        return Timestamp(value)
    except (TypeError, ValueError) as error:
        raise PydanticCustomError("timestamp", "{reason}", {"reason": str(error)}) from None
