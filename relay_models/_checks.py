"""`check_count`, `check_type` and their like: refuse what an argument cannot be, before anything is done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from relay_models.errors import InvalidConfigurationError

__all__ = [
    "LONGEST_TIMEOUT",
    "check_address",
    "check_callable",
    "check_choice",
    "check_count",
    "check_list",
    "check_path",
    "check_seconds",
    "check_text",
    "check_type",
    "reason_of",
    "shown",
]

# Longest text of a value in a message (characters).
_LONGEST_SHOWN = 200

LONGEST_TIMEOUT = 2_000_000
"""The longest wait that can be asked for (seconds, 23 days): sockets count milliseconds in 31 bits."""


def shown(value: Any) -> str:
    """The repr of a value for a message, cut where it is long; the name of its type where it has none."""
    try:
        text = repr(value)
    except Exception:  # an integer of more digits than Python converts, or an object of the caller's
        return f"a value of the type {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def reason_of(error: Exception) -> str:
    """What an error of a user's function says, with its type: many say little without it, and some nothing."""
    text = str(error)
    return text if text and type(error) is ValueError else f"{type(error).__name__}: {text}".removesuffix(": ")


def check_type(name: str, value: Any, types: type | tuple[type, ...], what: str) -> None:
    """Raise `InvalidConfigurationError` for what is of none of the types; `what` says what is expected."""
    if not isinstance(value, types):
        raise InvalidConfigurationError(f"{name} is {what}, not {shown(value)}")


def check_callable(name: str, value: Any, what: str) -> None:
    """Raise `InvalidConfigurationError` for what cannot be called; `what` says what is expected."""
    if not callable(value):
        raise InvalidConfigurationError(f"{name} is {what}, not {shown(value)}")


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise `InvalidConfigurationError` for what is none of the texts."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        raise InvalidConfigurationError(f"{name} is {' or '.join(map(repr, known))}, not {shown(value)}")


def check_path(name: str, value: Any) -> None:
    """Raise `InvalidConfigurationError` for what cannot name a file."""
    try:
        if not isinstance(value, bytes) and b"\0" not in os.fsencode(os.fspath(value)):
            return
    except (TypeError, ValueError):  # no path, or text that the file system's encoding does not have
        pass
    raise InvalidConfigurationError(f"{name} is the path of a file, not {shown(value)}")


def check_text(name: str, value: Any, what: str = "text") -> None:
    """Raise `InvalidConfigurationError` for what is neither None nor text that can be sent."""
    if value is not None:
        check_type(name, value, str, what)
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise InvalidConfigurationError(f"{name} is {what}, but has a lone surrogate: {shown(value)}")


def check_address(host: Any, port: Any) -> None:
    """Raise `InvalidConfigurationError` for what no server can listen on."""
    check_type("host", host, str, "a name or an address, such as '127.0.0.1'")
    try:
        host.encode("idna")
    except UnicodeError:
        raise InvalidConfigurationError(f"host is a name or an address, not {shown(host)}") from None
    check_count("port", port, 0, 65_535)


def check_list(name: str, values: Any, types: type | tuple[type, ...], what: str) -> list[Any]:
    """Return the values as a list; raise `InvalidConfigurationError` where they are none, or one is of no such type."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InvalidConfigurationError(f"{name} is a list of {what}, not {shown(values)}")
    items = list(values)
    for item in items:
        if not isinstance(item, types):
            raise InvalidConfigurationError(f"{name} is a list of {what}; one of them is {shown(item)}")
    return items


def check_count(name: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Raise `InvalidConfigurationError` for what is no whole number, less than `least` or more than `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"from {least} on" if most is None else f"from {least} to {most}"
        raise InvalidConfigurationError(f"{name} is a whole number {bounds}, not {shown(value)}")


def check_seconds(
    name: str, value: Any, *, most: float = LONGEST_TIMEOUT, positive: bool = False, none: str = ""
) -> None:
    """Raise `InvalidConfigurationError` for what is no number of seconds from 0 to `most`.

    Args:
        name: The option.
        value: Its value.
        most: The highest number.
        positive: Whether 0 is refused as well.
        none: What None means, where the option may be None; the caller lets that pass.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most or (positive and value == 0):
        bounds = f"greater than 0, up to {most}" if positive else f"from 0 to {most}"
        or_none = f", or None for {none}" if none else ""
        raise InvalidConfigurationError(f"{name} is a number of seconds {bounds}{or_none}, not {shown(value)}")
