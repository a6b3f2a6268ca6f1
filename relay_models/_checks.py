"""`check_count`, `check_seconds`: refuse numbers that an option cannot have; `shown`: a refused value in a message."""

from __future__ import annotations

from typing import Any

from relay_models.errors import InvalidConfigurationError

__all__ = ["LONGEST_TIMEOUT", "check_count", "check_seconds", "shown"]

LONGEST_TIMEOUT = 2_000_000
"""The longest wait that can be asked for (seconds, 23 days): sockets count milliseconds in 31 bits."""


# Maximum characters of a value in a message.
_SHOWN = 200


def shown(value: object) -> str:
    """A value as messages show it, cut where it is long."""
    try:
        text = repr(value)
    except Exception:  # of a user's class, or a number of more than 4,300 digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def check_count(name: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Raise `InvalidConfigurationError` for what is no whole number, less than `least` or more than `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"from {least} on" if most is None else f"from {least} to {most}"
        raise InvalidConfigurationError(f"{name} is a whole number {bounds}, not {value!r}")


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
        raise InvalidConfigurationError(f"{name} is a number of seconds {bounds}{or_none}, not {value!r}")
