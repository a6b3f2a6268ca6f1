"""`expand`: the indexed words that prefixes, wildcard patterns and fuzzy words stand for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import assert_never

from relay_models.embedded.glob import compile_wildcard, compile_word_wildcard
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.context import QueryContext
from relay_models.embedded.search.execute.fuzzy import within_distance
from relay_models.embedded.search.index.schema import FieldType
from relay_models.embedded.search.index.tokenizer import fold_part
from relay_models.embedded.search.syntax.nodes import ALL_FIELDS, Fuzzy, IncompleteWord, Node, Pattern, Prefix

__all__ = ["expand", "prefix_end", "signed_mask", "without_escapes"]


def _longest_part(pattern: bytes) -> bytes | None:
    """The part of a pattern between its * by which words are found in a suffix trie (WITHSUFFIXTRIE).

    The real server means to skip parts with ?, but subtracts them from the best score so far, with overflow.
    """
    text = pattern.decode("utf-8", "replace")
    best, found = -(1 << 31), None
    for match in re.finditer(r"[^*]+", text):
        part = match[0]
        if len(part) < 2:
            continue
        inner = match.end() < len(text)
        best -= part.count("?")
        if best < -(1 << 31):
            best += 1 << 32
        score = len(part) + 1 - (5 if inner else 0)
        if score >= best:
            best, found = score, part + "*" if inner else part
    return None if found is None else found.encode()


def without_escapes(pattern: bytes) -> bytes:
    """A pattern without its backslashes, which do not escape * and ?."""
    return re.sub(rb"\\(.?)", rb"\1", pattern, flags=re.DOTALL)


def prefix_end(prefix: bytes) -> bytes | None:
    """The first string that sorts after all that start with `prefix`; None where there is none."""
    bare = prefix.rstrip(b"\xff")
    return None if not bare else bare[:-1] + bytes((bare[-1] + 1,))


def signed_mask(mask: int) -> int:
    return mask - (1 << 64) if mask >= 1 << 63 else mask


def _in_trie(word: bytes) -> bool:
    """Whether the real server can expand to a word: it keeps 16 bits of each character."""
    return not any(byte >= 0xF0 for byte in word)


def expand(context: QueryContext, node: IncompleteWord) -> list[bytes]:
    """The indexed words that an incomplete word stands for."""
    limit = context.settings.numbers["MAXEXPANSIONS"]
    match node:
        case Fuzzy():
            return _expand_fuzzy(context, node, limit)
        case Pattern():
            return _expand_pattern(context, node, limit)
        case Prefix():
            return _expand_prefix(context, node, limit)
        case _:
            assert_never(node)


def _expand_fuzzy(context: QueryContext, node: Fuzzy, limit: int) -> list[bytes]:
    wanted = fold_part(node.text)
    words = _vocabulary(context, lambda word: within_distance(wanted, word, node.distance), limit)
    return [*words, b""] if node.with_empty and len(node.text) <= node.distance else words


def _expand_prefix(context: QueryContext, node: Prefix, limit: int) -> list[bytes]:
    text = fold_part(node.text)
    if len(node.text) < context.settings.numbers["MINPREFIX"]:
        return []
    if node.at_end:
        suffixed = _suffixed(context, node)
        if node.at_start:
            return _vocabulary(context, lambda word: text in word, limit, suffixed)
        return _vocabulary(context, lambda word: word.endswith(text), limit, suffixed)
    end = prefix_end(text)
    sql = f"SELECT DISTINCT word FROM {context.tables.words} WHERE word >= ?" + (" AND word < ?" if end else "")
    arguments = (text, end, limit) if end else (text, limit)
    return [word for (word,) in context.connection.execute(f"{sql} LIMIT ?", arguments) if _in_trie(word)]


def _expand_pattern(context: QueryContext, node: Pattern, limit: int) -> list[bytes]:
    pattern = without_escapes(node.text)
    suffixed = _suffixed(context, node)
    folded = fold_part(pattern)
    part = _longest_part(folded) if suffixed else None
    if part is not None:
        # The part finds the words by their ends; the whole pattern is compared with them as it is written.
        ends, whole = compile_word_wildcard(b"*" + part), compile_wildcard(pattern)
        return _vocabulary(
            context, lambda word: whole.match(word) and ends.match(word.decode("utf-8", "replace")), limit, suffixed
        )
    words = compile_word_wildcard(folded)
    return _vocabulary(context, lambda word: words.match(word.decode("utf-8", "replace")), limit)


def _suffixed(context: QueryContext, node: Node) -> int:
    """The fields WITHSUFFIXTRIE; where there are any, suffixes and infixes are looked for only in their words.

    Raises `SearchError` where the node looks in others only.
    """
    suffixed = sum(
        1 << field.bit for field in context.spec.fields if field.suffix_trie and field.type is FieldType.TEXT
    )
    if suffixed and node.fields != ALL_FIELDS and node.fields & ~suffixed:
        raise SearchError("Contains query on fields without WITHSUFFIXTRIE support")
    return suffixed


def _in_fields(context: QueryContext, word: bytes, fields: int) -> bool:
    sql = f"SELECT 1 FROM {context.tables.words} WHERE word = ? AND fields & ? LIMIT 1"
    return context.connection.execute(sql, (word, signed_mask(fields))).fetchone() is not None


def _is_expanded(context: QueryContext, word: bytes, fields: int) -> bool:
    """Whether the real server can expand to a word: one of the fields WITHSUFFIXTRIE where there are such fields."""
    if not fields:
        return _in_trie(word)
    return word[:1] != b"+" and _in_fields(context, word, fields)


def _vocabulary(context: QueryContext, fits: Callable[[bytes], object], limit: int, fields: int = 0) -> list[bytes]:
    """The words that match, in these fields where some are given."""
    found: list[bytes] = []
    # Hop from word to word along the primary key instead of reading all of its rows.
    sql = f"SELECT word FROM {context.tables.words} WHERE word > ? ORDER BY word LIMIT 1"
    row = context.connection.execute(f"SELECT min(word) FROM {context.tables.words}").fetchone()
    while row is not None and row[0] is not None and len(found) < limit:
        word: bytes = row[0]
        if word and fits(word) and _is_expanded(context, word, fields):
            found.append(word)
        row = context.connection.execute(sql, (word,)).fetchone()
    return found
