"""`search`: FT.SEARCH, its arguments, the page of documents it finds, and its reply."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from relay_models.embedded.reply_types import encode_double
from relay_models.embedded.search.arguments import Arguments
from relay_models.embedded.search.errors import SearchError
from relay_models.embedded.search.execute.column_values import MAY_BE_BOOLEAN, printed, reply_rows, whole_as_digits
from relay_models.embedded.search.execute.hits import DEFAULT_LIMIT, Hit, HitFinder
from relay_models.embedded.search.execute.selection import Selection
from relay_models.embedded.search.index.documents import Documents, FieldReader, Value, single, to_reply
from relay_models.embedded.search.index.schema import FieldSpec, FieldType, IndexSpec
from relay_models.embedded.search.index.settings import Settings
from relay_models.embedded.search.index.tables import exact_column, sort_column
from relay_models.embedded.search.numbers import format_sort_key
from relay_models.embedded.search.reply.highlight import Marker
from relay_models.embedded.search.syntax.request import (
    Arrangement,
    QueryRequest,
    check_expand,
)
from relay_models.embedded.search.syntax.search_options import read_search

__all__ = ["Search", "search"]


def search(
    connection: sqlite3.Connection,
    spec: IndexSpec,
    documents: Documents,
    settings: Settings,
    arguments: Arguments,
    protocol: int,
) -> Any:
    """Run FT.SEARCH and give its reply in the shape of `protocol`. Raises `SearchError`."""
    request, arrangement = read_search(arguments, settings)
    return Search(connection, spec, documents, settings, request, arrangement, protocol).reply()


class Search:
    """One FT.SEARCH, planned and ready to run. The constructor raises `SearchError`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        spec: IndexSpec,
        documents: Documents,
        settings: Settings,
        request: QueryRequest,
        arrangement: Arrangement,
        protocol: int,
    ) -> None:
        check_expand(request, protocol)
        if request.markup.highlight or request.markup.summarize:
            if spec.kind == "json":
                raise SearchError("HIGHLIGHT/SUMMARIZE is not supported with JSON indexes")
            if "NOOFFSETS" in spec.options or "NOHL" in spec.options:
                raise SearchError("Cannot use HIGHLIGHT/SUMMARIZE because NOOFSETS was specified at index level")
        self._spec = spec
        self._request = request
        self._arrangement = arrangement
        self.selection = Selection(connection, spec, settings, request)
        self._protocol = protocol
        self._documents = documents
        self._reader = FieldReader(spec, documents, request.dialect)
        self._finder = HitFinder(self.selection, request, arrangement, self._reader)
        self._sort_field = self._finder.sort_field

    def steps(self, found: int) -> list[tuple[str, int]]:
        """The steps after finding `found` documents, in the words of FT.PROFILE, and how many rows each gives."""
        steps = [("Index", found)]
        if self._request.count_only:
            return [*steps, ("Counter", 1)]
        if self._sort_field is None:
            steps.append(("Scorer", found))
        elif sort_column(self._sort_field) is None:
            steps.append(("Loader", found))
        limit = self._arrangement.limit if self._arrangement.limited else DEFAULT_LIMIT
        rows = max(0, min(limit, found - self._arrangement.offset))
        steps.append(("Sorter", rows))
        if not self._request.no_content:
            steps.append(("Loader", rows))
        return steps

    def reply(self) -> Any:
        """The reply, in the shape of the protocol."""
        request = self._request
        if request.count_only:
            return self._shape(0 if request.with_count is False else self.selection.count(), [])
        limit = self._arrangement.limit if self._arrangement.limited else DEFAULT_LIMIT
        offset = self._arrangement.offset
        if self.selection.empty:
            return self._shape(0, [])
        page = self._quick_page(offset, limit)
        if page is not None:
            return page
        total, hits = self._finder.find(offset, limit)
        if request.with_count is False:
            total = min(max(0, total - offset), limit)
            if self._protocol < 3 and self._sort_field is None and not self.selection.has_words:
                # The first row is sent when it is found.
                total = min(total, 1)
        return self._shape(total, self._results(hits))

    # A page from an index's columns alone, which is what lists of documents mostly need

    def _quick_page(self, offset: int, limit: int) -> Any:
        """The reply, reading only documents whose columns do not say everything; None where that cannot be done."""
        field = self._sort_field
        column = None if field is None else sort_column(field)
        columns = None if field is None or column is None else self._quick_columns(field)
        if field is None or column is None or columns is None:
            return None
        self.selection.combine(column)
        counted = self._request.with_count is not False
        total = self.selection.count() if counted else 0
        # The field that the hits are sorted by comes first.
        names = sorted(columns, key=lambda name: name != field.name)
        wanted = ("d.key", *(columns[name] for name in names))
        rows = (
            []
            if counted and offset >= total
            else self._finder.page(column, self._arrangement.keys[0][1], wanted, offset, limit)
        )
        total = total if counted else len(rows)
        if not rows:
            return self._shape(total, [])
        keys, *values = zip(*rows, strict=True)
        if self._request.no_content:
            return self._quick_reply(total, keys, None)
        doubtful: set[int] = set()
        for place, held in enumerate(values):
            if not MAY_BE_BOOLEAN.isdisjoint(held):
                doubtful.update(at for at, value in enumerate(held) if value in MAY_BE_BOOLEAN)
            if columns[names[place]].startswith("iif"):
                values[place] = printed(held)
        if self._request.returns is None:
            names.append(b"$")
            values.append(tuple(map(self._documents.json_text, keys)))
            doubtful.update(at for at, text in enumerate(values[-1]) if text is None)
        found: list[Any] = reply_rows(names, values)
        for at in doubtful:
            ((_, _, row),) = self._results([(0, keys[at], 0.0)])
            found[at] = None if row is None else {name: to_reply(value) for name, value in row.items()}
        return self._quick_reply(total, keys, found)

    def _quick_reply(self, total: int, keys: Sequence[bytes], found: list[Any] | None) -> Any:
        if self._protocol >= 3:
            if found is None:
                return self._reply_map(total, [{b"id": key, b"values": []} for key in keys])
            hits = zip(keys, found, strict=True)
            return self._reply_map(total, [{b"id": key, b"extra_attributes": row, b"values": []} for key, row in hits])
        if found is None:
            return [total, *keys]
        reply: list[Any] = [total]
        for key, row in zip(keys, found, strict=True):
            reply += (key, None if row is None else [part for pair in row.items() for part in pair])
        return reply

    def _quick_columns(self, sorted_by: FieldSpec) -> dict[bytes, str] | None:
        """The SQL for each requested field, if the reply shows nothing else of the documents' content."""
        request = self._request
        if request.with_sort_keys or request.with_scores or request.with_payloads or request.raw_ids:
            return None
        if request.no_content:
            return {}
        if request.dialect > 2 or request.markup.highlight or request.markup.summarize:
            return None
        if request.returns is not None:
            wanted = request.returns
        elif self._spec.kind == "json":
            wanted = [(sorted_by.name, sorted_by.name)]
        else:
            return None
        columns: dict[bytes, str] = {}
        for name, path in wanted:
            if path == b"__key":
                columns[name] = "d.key"
                continue
            field = self._spec.field(path)
            column = None if field is None else exact_column(self._spec, field)
            if field is None or column is None:
                return None
            columns[name] = f"d.{column}"
            if field.type is FieldType.NUMERIC:
                columns[name] = whole_as_digits(columns[name])
        return columns

    # Their content

    def _results(self, hits: list[Hit]) -> list[tuple[Hit, Any, dict[bytes, Value] | None]]:
        """The sort key and the fields of each hit (None: the document was deleted)."""
        request, reader = self._request, self._reader
        sort_put = None
        if self._sort_field is not None and (not request.no_content or request.with_sort_keys):
            sort_put = reader.sort_value(self._sort_field)
        puts = None
        if request.returns is not None:
            puts = [reader.field(name, path) for name, path in request.returns]
        marks = None
        if request.markup.highlight or request.markup.summarize:
            marks = Marker(self._spec, self.selection, request)
        # A whole JSON document is its text, which need not be parsed.
        whole = puts is None and sort_put is None and not request.no_content
        text_alone = whole and self._spec.kind == "json" and request.dialect < 3
        results: list[tuple[Hit, Any, dict[bytes, Value] | None]] = []
        for hit in hits:
            key = hit[1]
            if request.no_content and sort_put is None:
                results.append((hit, None, {}))
                continue
            row: dict[bytes, Value] = {}
            if text_alone:
                text = self._documents.json_text(key)
                results.append((hit, None, None if text is None else {b"$": text}))
                continue
            document = reader.document(key)
            if document is None:
                results.append((hit, None, None))
                continue
            sort_value = None
            if sort_put is not None:
                sort_put(key, document, row)
                assert self._sort_field is not None
                sort_value = row.get(self._sort_field.name)
                if self._sort_field.sortable and sort_value is None:
                    row.pop(self._sort_field.name, None)
            if not request.no_content:
                if puts is None:
                    reader.everything(key, document, row)
                    field = self._sort_field
                    if field is not None and self._spec.kind == "hash" and field.name in row:
                        # Reading all of a hash replaces the sort key with the text.
                        row[field.name] = document[field.path]
                        sort_value = sort_value if field.sortable else row[field.name]
                else:
                    row = self._returned(puts, key, document)
                if marks is not None:
                    marks.mark(hit[0], row)
            results.append((hit, self._finder.sort_values.get(hit[0], sort_value), row))
        return results

    def _returned(self, puts: Any, key: bytes, document: Any) -> dict[bytes, Value]:
        found: dict[bytes, Value] = {}
        for put in puts:
            put(key, document, found)
        return self._ordered(found)

    def _ordered(self, found: dict[bytes, Value]) -> dict[bytes, Value]:
        """The field that the hits are sorted by comes first."""
        if self._sort_field is None or self._sort_field.name not in found:
            return found
        first = self._sort_field.name
        return {first: found[first], **found}

    # The reply

    def _shape(self, total: int, results: list[tuple[Hit, Any, dict[bytes, Value] | None]]) -> Any:
        if self._protocol >= 3:
            return self._reply_map(total, [self._map(*result) for result in results])
        reply: list[Any] = [total]
        request = self._request
        for hit, sort_value, row in results:
            reply.append(hit[1])
            if request.with_scores:
                score = encode_double(hit[2])
                reply.append(score)
            if request.raw_ids:
                reply.append(hit[0])
            if request.with_payloads:
                reply.append(None)
            if request.with_sort_keys:
                reply.append(self._sort_key(sort_value))
            if not request.no_content:
                reply.append(None if row is None else [x for name in row for x in (name, to_reply(row[name]))])
        return reply

    def _reply_map(self, total: int, results: list[dict[bytes, Any]]) -> dict[bytes, Any]:
        return {
            b"attributes": [],
            b"format": b"EXPAND" if self._request.expand else b"STRING",
            b"results": results,
            b"total_results": total,
            b"warning": [],
        }

    def _map(self, hit: Hit, sort_value: Value, row: dict[bytes, Value] | None) -> dict[bytes, Any]:
        request = self._request
        result: dict[bytes, Any] = {b"id": hit[1]}
        if request.with_scores:
            result[b"score"] = hit[2]
        if request.raw_ids:
            result[b"id"] = hit[0]
        if request.with_payloads:
            result[b"payload"] = None
        if request.with_sort_keys:
            result[b"sortkey"] = self._sort_key(sort_value)
        if not request.no_content:
            convert = expanded if request.expand else to_reply
            result[b"extra_attributes"] = None if row is None else {name: convert(value) for name, value in row.items()}
        result[b"values"] = []
        return result

    @staticmethod
    def _sort_key(value: Value) -> bytes | None:
        value = single(value)
        if value is None or type(value) is list:
            return None
        return b"#" + format_sort_key(value) if type(value) is float else b"$" + value


def expanded(value: Value) -> Any:
    """A value in the EXPAND format: JSON as nested replies."""
    found = getattr(value, "found", None)
    return to_reply(value) if found is None else _nested(found)


def _nested(value: Any) -> Any:
    if type(value) is list:
        return [_nested(part) for part in value]
    if type(value) is dict:
        return {name.encode(): _nested(part) for name, part in value.items()}
    if type(value) is str:
        return value.encode()
    if isinstance(value, bool):
        return int(value)
    return value
