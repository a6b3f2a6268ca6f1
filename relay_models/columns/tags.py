"""`escape_tag`: texts as TAG values of an index, exactly, whatever characters they hold."""

from __future__ import annotations

from relay_models.columns.info import ColumnInfo

__all__ = ["escape_tag", "is_escaped", "tag_parameter", "unescape_tag", "words_column"]

# NUL ends a tag in the index, so it is written as another character there, and that character as two of itself.
_NUL, _MARK = "\0", "\u2400"


def escape_tag(text: str) -> str:
    """A text as it is kept in a TAG column: as it is, but for NUL (``␀0``) and its sign (``␀␀``)."""
    if _MARK in text:
        text = text.replace(_MARK, _MARK + _MARK)
    return text.replace(_NUL, _MARK + "0") if _NUL in text else text


def is_escaped(json: str) -> bool:
    """Whether a JSON text may hold a text that `escape_tag` changes."""
    return _MARK in json or "\\u0000" in json


def unescape_tag(text: str) -> str:
    """Undo `escape_tag`."""
    if _MARK not in text:
        return text
    # Doubled signs hold no NUL; what is single between them begins one.
    return _MARK.join(part.replace(_MARK + "0", _NUL) for part in text.split(_MARK + _MARK))


def tag_parameter(text: str) -> str:
    """A text as the value of a parameter that stands for a whole tag: the server still undoes backslashes in it."""
    return escape_tag(text).replace("\\", "\\\\")


def words_column(column: ColumnInfo) -> str:
    """Name of the index attribute that has each word of running text as a value."""
    return f"{column.index_name}_words"
