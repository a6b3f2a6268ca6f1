"""`project_setting`: what a project's pyproject.toml says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relay_models.errors import InvalidConfigurationError

__all__ = ["project_setting"]


def project_setting(name: str) -> tuple[Path | None, Any]:
    """Read a setting of ``[tool.relay-models]`` from the nearest pyproject.toml.

    Args:
        name: the setting.

    Returns:
        The file, and the value of the setting; None for what there is not.

    Raises:
        InvalidConfigurationError: the file is no TOML.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        path = folder / "pyproject.toml"
        if path.is_file():
            break
    else:
        return None, None
    text = path.read_text(encoding="utf-8", errors="replace")
    if "relay-models" not in text:
        return path, None
    import tomllib  # lazy: start-up time

    try:
        settings: Any = tomllib.loads(text).get("tool", {}).get("relay-models", {})
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfigurationError(f"{path} cannot be read: {error}") from None
    return path, settings.get(name) if isinstance(settings, dict) else None
