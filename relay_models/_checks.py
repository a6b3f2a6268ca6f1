"""`check_count` and `check_seconds`: refuse numbers that an option cannot have, before anything is done."""

from __future__ import annotations

from typing import Any

from relay_models.errors import InvalidConfigurationError

__all__ = ["LONGEST_TIMEOUT", "check_count", "check_seconds"]

LONGEST_TIMEOUT = 2_000_000
"""The longest wait that can be asked for (seconds, 23 days): sockets count milliseconds in 31 bits."""


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
