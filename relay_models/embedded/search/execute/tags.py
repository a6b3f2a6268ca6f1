"""SQL tests on tags: `tag_test` for incomplete ones, `tag_values` for the tags that these stand for."""

from __future__ import annotations

from relay_models.embedded.search.execute.context import QueryContext
from relay_models.embedded.search.execute.words import prefix_end, without_escapes
from relay_models.embedded.search.index.schema import FieldSpec, FieldType
from relay_models.embedded.search.index.tokenizer import fold, unescape
from relay_models.embedded.search.syntax.nodes import Pattern, Prefix, Tag

__all__ = ["tag_test", "tag_text", "tag_values"]


def tag_text(field: FieldSpec, text: bytes) -> bytes:
    """A tag of the query in the form in which it is looked for."""
    end = text.find(b"\0")
    plain = unescape(text if end < 0 else text[:end])
    return plain if field.case_sensitive else fold(plain)


def tag_values(context: QueryContext, node: Tag) -> list[bytes]:
    """The tags that a node's incomplete tags stand for, up to MAXEXPANSIONS of each."""
    field, found = node.field, list[bytes]()
    if field.type is FieldType.TEXT:
        return found
    column = f"v{field.number}"
    for part in node.parts:
        if not isinstance(part, (Prefix, Pattern)):
            continue
        single = tag_test(context, field, part, column)
        if single is None:
            continue
        test, arguments = single
        sql = f"SELECT {column} FROM {context.tables.docs} WHERE {test}"
        several = tag_test(context, field, part, "tag") if field.many else None
        if several is not None:
            test, more = several
            sql += f" UNION SELECT tag FROM {context.tables.tags} WHERE field = ? AND {test}"
            arguments = [*arguments, field.number, *more]
        limit = context.settings.numbers["MAXEXPANSIONS"]
        sql = f"SELECT DISTINCT * FROM ({sql}) ORDER BY 1 LIMIT ?"
        found += [value for (value,) in context.connection.execute(sql, (*arguments, limit))]
    return found


def tag_test(
    context: QueryContext, field: FieldSpec, part: Prefix | Pattern, column: str
) -> tuple[str, list[object]] | None:
    """The SQL test of a column for an incomplete tag, and its arguments; None where it matches nothing."""
    text = tag_text(field, part.text)
    if isinstance(part, Pattern):
        # An empty pattern, which only a parameter gives, does not even match the empty tag.
        return (f"ft_fits({column}, ?)", [without_escapes(text)]) if part.text else None
    if len(text) < context.settings.numbers["MINPREFIX"]:
        return None
    if not part.at_end:
        end = prefix_end(text)
        return (f"{column} >= ? AND {column} < ?", [text, end]) if end else (f"{column} >= ?", [text])
    if part.at_start:
        return f"instr({column}, ?) > 0", [text]
    return f"substr({column}, ?) = ?", [-len(text), text]
