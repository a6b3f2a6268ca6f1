"""`IndexSpec`: the options and fields of an index, parsed from FT.CREATE and FT.ALTER, and kept as JSON."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from relay_models.embedded.json.path import compile_path
from relay_models.embedded.search.arguments import Arguments, display, parse_hash_number
from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.index.field_paths import plain_name
from relay_models.embedded.search.index.stop_words import DEFAULT_STOP_WORDS

__all__ = ["MAX_FIELDS", "Errors", "FieldSpec", "FieldType", "IndexSpec", "parse_fields", "parse_index"]

MAX_FIELDS = 1024
MAX_TEXT_FIELDS = 128

LANGUAGES = frozenset(
    [
        "arabic",
        "armenian",
        "basque",
        "catalan",
        "danish",
        "dutch",
        "english",
        "finnish",
        "french",
        "german",
        "greek",
        "hindi",
        "hungarian",
        "indonesian",
        "irish",
        "italian",
        "lithuanian",
        "nepali",
        "norwegian",
        "portuguese",
        "romanian",
        "russian",
        "serbian",
        "spanish",
        "swedish",
        "tamil",
        "turkish",
        "yiddish",
        "chinese",
    ]
)


class FieldType(enum.StrEnum):
    TEXT = "TEXT"
    TAG = "TAG"
    NUMERIC = "NUMERIC"


UNSUPPORTED_TYPES = {b"GEO": "GEO", b"GEOSHAPE": "GEOSHAPE", b"VECTOR": "VECTOR"}


@dataclass(slots=True)
class Errors:
    """How many documents could not be indexed, and why the last one could not."""

    failures: int = 0
    message: str = ""
    key: bytes = b""

    def add(self, message: str, key: bytes) -> None:
        self.failures += 1
        self.message, self.key = message, key


@dataclass(slots=True)
class FieldSpec:
    """One field of an index. `number` is its index in the schema, `bit` its bit in a posting's field mask (TEXT)."""

    name: bytes
    path: bytes
    type: FieldType
    number: int
    sortable: bool = False
    unf: bool = False
    noindex: bool = False
    index_empty: bool = False
    index_missing: bool = False
    suffix_trie: bool = False
    # TEXT
    weight: float = 1.0
    nostem: bool = False
    bit: int = 0
    unordered: bool = False
    """Whether the path has several matches, whose texts have no order for SLOP and INORDER."""
    # TAG; separator None: a JSON string is one tag
    separator: str | None = None
    case_sensitive: bool = False
    many: bool = False
    """Whether some document had several values (or, for TAG, tags) here, which are in the side table."""
    ready: bool = False
    """Whether the SQL index and side tables for finding by this field exist; the first query creates them."""
    errors: Errors = field(default_factory=Errors)
    sort_ready: bool = False
    """The same for sorting by it."""
    blanks: bool = False
    """Whether the table of missing fields has the documents that have the field without a value.

    Otherwise it has those without the field, which may be nearly all. With `blanks` they are those without a value that
    are not in the table.
    """
    merged: bool = False
    """Whether a SORTABLE tag is sorted by the column in which it is found. Before format 5 it had one more for that."""
    packs: bool = True
    """Whether the table has a column for several values. Of most paths it is added with the first such document."""

    @property
    def indexed(self) -> bool:
        return not self.noindex


@dataclass(slots=True)
class IndexSpec:
    """One index. `number` names its tables."""

    name: bytes
    kind: Literal["hash", "json"]
    number: int = 0
    prefixes: list[bytes] = field(default_factory=lambda: [b""])
    filter: bytes | None = None
    language: str = "english"
    language_given: bool = False
    language_field: bytes | None = None
    score: float = 1.0
    score_field: bytes | None = None
    payload_field: bytes | None = None
    options: list[str] = field(default_factory=list)
    """NOOFFSETS, NOHL, NOFIELDS, NOFREQS, MAXTEXTFIELDS, SKIPINITIALSCAN, as given."""
    temporary: int | None = None
    stop_words: list[bytes] | None = None
    synonyms: list[tuple[bytes, list[bytes]]] = field(default_factory=list)
    """Each word that has synonyms, folded, with the groups that it is in."""
    index_all: bool = False
    named: bool = False
    """Whether any field has a name of its own (AS)."""
    fields: list[FieldSpec] = field(default_factory=list)
    combinations: list[str] = field(default_factory=list)
    """The SQL indexes over several columns that were created for queries, by their columns: ``v0,v5,v6``."""
    covers: list[str] = field(default_factory=list)
    """The same of those from which groups are read: one for each column that is grouped by."""
    filling: bool = False
    """Whether existing documents must still be indexed."""
    errors: Errors = field(default_factory=Errors)

    def field(self, name: bytes) -> FieldSpec | None:
        for known in self.fields:
            if known.name == name:
                return known
        return None

    def field_by_path(self, path: bytes) -> FieldSpec | None:
        for known in self.fields:
            if known.path == path:
                return known
        return None

    def matches(self, key: bytes) -> bool:
        return any(key.startswith(prefix) for prefix in self.prefixes)

    @property
    def synonym_forms(self) -> dict[bytes, list[bytes]]:
        """The words for the groups of each synonym, in the index and in queries: ones that no text can contain."""
        return {word: [b"~" + group for group in groups] for word, groups in self.synonyms}

    def add_synonyms(self, group: bytes, words: list[bytes]) -> None:
        """Let these folded words be synonyms of all others in the group."""
        known = dict(self.synonyms)
        for word in words:
            groups = known.setdefault(word, [])
            if group not in groups:
                groups.append(group)
        self.synonyms = list(known.items())

    @property
    def words_to_skip(self) -> frozenset[bytes]:
        return DEFAULT_STOP_WORDS if self.stop_words is None else frozenset(self.stop_words)

    def dump(self) -> str:
        raw = _as_json(self)
        if not self.synonyms:
            del raw["synonyms"]  # so that a file without synonyms can be read by earlier releases
        if not self.covers:
            del raw["covers"]
        return json.dumps(raw, default=_as_json)

    @classmethod
    def load(cls, text: str) -> IndexSpec:
        raw: dict[str, Any] = json.loads(text)
        fields = [_load(FieldSpec, _with_errors(part), ("name", "path")) for part in raw.pop("fields")]
        for part in fields:
            part.type = FieldType(part.type)
        names = ("name", "filter", "language_field", "score_field", "payload_field")
        spec: IndexSpec = _load(cls, _with_errors(raw), names)
        spec.fields = fields
        spec.prefixes = [prefix.encode("latin-1") for prefix in raw["prefixes"]]
        if raw["stop_words"] is not None:
            spec.stop_words = [word.encode("latin-1") for word in raw["stop_words"]]
        spec.synonyms = [
            (word.encode("latin-1"), [group.encode("latin-1") for group in groups])
            for word, groups in raw.get("synonyms", ())
        ]
        return spec


def _as_json(value: Any) -> Any:
    """Bytes and the dataclasses above as JSON has them. `dataclasses.asdict` would copy all that it finds first."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return {name: getattr(value, name) for name in value.__slots__}


def _with_errors(raw: dict[str, Any]) -> dict[str, Any]:
    errors = raw.pop("errors", None)
    if errors is None:
        # As a file of an earlier release has them.
        names = {"failures": "failures", "message": "last_error", "key": "last_error_key"}
        errors = {name: raw.pop(old) for name, old in names.items() if old in raw} or {"key": ""}
    raw["errors"] = _load(Errors, errors, ("key",))
    return raw


def _load(cls: Any, raw: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if raw[name] is not None:
            raw[name] = raw[name].encode("latin-1")
    return cls(**raw)


_FLAGS = (b"NOOFFSETS", b"NOHL", b"NOFIELDS", b"NOFREQS", b"MAXTEXTFIELDS", b"SKIPINITIALSCAN", b"ASYNC", b"NOSCOREIDX")


def parse_index(name: bytes, arguments: Arguments) -> IndexSpec:
    """FT.CREATE's arguments after the index's name. Raises `SearchError`."""
    spec = IndexSpec(name=name, kind="hash")
    while arguments and not arguments.accept(b"SCHEMA"):
        word = arguments.take()
        _option(spec, word, arguments)
    if not arguments and (not arguments.position or arguments.values[arguments.position - 1].upper() != b"SCHEMA"):
        raise SearchError("No schema found")
    for part in parse_fields(spec, arguments):
        # Not of fields that FT.ALTER adds: the documents from before it are in no table, whatever they have.
        part.blanks = part.index_missing and part.type is not FieldType.TEXT
    return spec


def _lay_out(spec: IndexSpec, part: FieldSpec) -> None:
    """Choose the columns of a field: as few as most documents need."""
    exact = part.type is FieldType.TAG and part.case_sensitive and part.separator is None
    part.merged = exact and part.sortable and part.unf
    part.packs = part.separator is not None or (spec.kind == "json" and plain_name(part.path) is None)


def _option(spec: IndexSpec, word: bytes, arguments: Arguments) -> None:
    option = word.upper()
    if option in _FLAGS:
        if option.decode() not in spec.options:
            spec.options.append(option.decode())
    elif option == b"ON":
        kind = arguments.text("ON")
        if kind.upper() not in (b"HASH", b"JSON"):
            raise SearchError(f"Invalid rule type: {display(kind)}")
        spec.kind = "hash" if kind.upper() == b"HASH" else "json"
    elif option == b"PREFIX":
        spec.prefixes = arguments.counted("PREFIX").values or [b""]
    elif option == b"FILTER":
        spec.filter = arguments.text("FILTER")
    elif option == b"LANGUAGE":
        language = display(arguments.text("LANGUAGE"))
        if language.lower() not in LANGUAGES:
            raise SearchError("Invalid language")
        if language.lower() == "chinese":
            raise UnsupportedError("LANGUAGE chinese is")
        spec.language, spec.language_given = language.lower(), True
    elif option == b"LANGUAGE_FIELD":
        spec.language_field = arguments.text("LANGUAGE_FIELD")
    elif option == b"SCORE":
        score = arguments.text("SCORE")
        number = parse_hash_number(score)
        if number is None or not 0 <= number <= 1:
            raise SearchError("Invalid score")
        spec.score = number
    elif option == b"SCORE_FIELD":
        spec.score_field = arguments.text("SCORE_FIELD")
    elif option == b"PAYLOAD_FIELD":
        spec.payload_field = arguments.text("PAYLOAD_FIELD")
    elif option == b"TEMPORARY":
        spec.temporary = arguments.integer("TEMPORARY")
    elif option == b"STOPWORDS":
        spec.stop_words = [stop.lower() for stop in arguments.counted("STOPWORDS").values]
    elif option == b"INDEXALL":
        value = arguments.text("INDEXALL").upper()
        if value not in (b"ENABLE", b"DISABLE"):
            raise SearchError("Invalid argument for `INDEXALL`, use ENABLE/DISABLE")
        spec.index_all = value == b"ENABLE"
    else:
        raise SearchError(f"Unknown argument `{display(word)}`")


def parse_fields(spec: IndexSpec, arguments: Arguments) -> list[FieldSpec]:
    """Parse the remaining fields, add them to `spec` and return them. Raises `SearchError`, with `spec` unchanged."""
    if not arguments:
        raise SearchError("Fields arguments are missing")
    fields = list(spec.fields)
    new: list[FieldSpec] = []
    named = spec.named
    try:
        while arguments:
            if len(fields) == MAX_FIELDS:
                raise SearchError(f"Schema is limited to {MAX_FIELDS} fields")
            part = _field(spec, fields, arguments)
            _lay_out(spec, part)
            fields.append(part)
            new.append(part)
    except SearchError:
        spec.named = named
        raise
    spec.fields = fields
    return new


def _field(spec: IndexSpec, fields: list[FieldSpec], arguments: Arguments) -> FieldSpec:
    path = name = arguments.take()
    if arguments.accept(b"AS"):
        if not arguments:
            raise SearchError("AS requires an argument")
        name = arguments.take()
        spec.named = True
    if any(known.name == name for known in fields):
        raise SearchError(f"Duplicate field in schema - {display(name)}")
    if not arguments:
        raise SearchError(f"Field `{display(name)}` does not have a type")
    word = arguments.take().upper()
    if word in UNSUPPORTED_TYPES:
        kind = UNSUPPORTED_TYPES[word]
        raise UnsupportedError(f"{kind} fields are")
    if word not in (b"TEXT", b"TAG", b"NUMERIC"):
        raise SearchError(f"Invalid field type for field `{display(name)}`")
    part = FieldSpec(name=name, path=path, type=FieldType(word.decode()), number=len(fields))
    if part.type is FieldType.TEXT:
        _text_options(part, arguments)
    elif part.type is FieldType.TAG:
        part.separator = "," if spec.kind == "hash" else None
        _tag_options(part, arguments)
    elif arguments.accept(b"INDEXMISSING"):
        part.index_missing = True
    while arguments:
        if arguments.accept(b"SORTABLE"):
            part.sortable = True
            exact = part.type is FieldType.NUMERIC or part.case_sensitive
            part.unf = arguments.accept(b"UNF") or exact or spec.kind == "json"
        elif arguments.accept(b"NOINDEX"):
            part.noindex = True
        else:
            break
    if part.noindex and part.index_missing:
        raise SearchError(f"'Field cannot be defined with both `NOINDEX` and `INDEXMISSING` `{display(name)}` '")
    if part.type is FieldType.TEXT and part.indexed:
        part.bit = sum(1 for known in fields if known.type is FieldType.TEXT and known.indexed)
        if part.bit >= MAX_TEXT_FIELDS:
            raise SearchError(f"Schema is limited to {MAX_TEXT_FIELDS} TEXT fields")
        if spec.kind == "json" and spec.named and "NOOFFSETS" not in spec.options:
            part.unordered = not _leads_to_one_place(spec, part)
    return part


def _leads_to_one_place(spec: IndexSpec, part: FieldSpec) -> bool:
    """Whether a JSON path has at most one match. Raises `SearchError` for an invalid path; only TEXT is checked."""
    try:
        path = compile_path(part.path) if part.path.startswith(b"$") else None
    except ValueError:
        path = None
    if path is None:
        where = f"in attribute '{display(part.name)}' in index '{display(spec.name)}'"
        raise SearchError(f"Invalid JSONPath '{display(part.path)}' {where}")
    return path.is_static


def _text_options(part: FieldSpec, arguments: Arguments) -> None:
    while arguments:
        if arguments.accept(b"NOSTEM"):
            part.nostem = True
        elif arguments.accept(b"WEIGHT"):
            part.weight = arguments.double("weight")
        elif arguments.accept(b"PHONETIC"):
            if not arguments:
                raise SearchError("PHONETIC requires an argument")
            if arguments.take().lower() not in (b"dm:en", b"dm:fr", b"dm:pt", b"dm:es"):
                raise SearchError(
                    "Matcher Format: <2 chars algorithm>:<2 chars language>. Support algorithms: double metaphone (dm)."
                    " Supported languages: English (en), French (fr), Portuguese (pt) and Spanish (es)"
                )
            raise UnsupportedError("PHONETIC matching is")
        elif not _shared_option(part, arguments):
            return


def _tag_options(part: FieldSpec, arguments: Arguments) -> None:
    while arguments:
        if arguments.accept(b"SEPARATOR"):
            if not arguments:
                raise SearchError("SEPARATOR requires an argument")
            separator = arguments.take()
            if len(separator) != 1:
                raise SearchError(f"Tag separator must be a single character. Got `%s`{display(separator)}")
            part.separator = separator.decode("latin-1")
        elif arguments.accept(b"CASESENSITIVE"):
            part.case_sensitive = True
        elif not _shared_option(part, arguments):
            return


def _shared_option(part: FieldSpec, arguments: Arguments) -> bool:
    if arguments.accept(b"WITHSUFFIXTRIE"):
        part.suffix_trie = True
    elif arguments.accept(b"INDEXEMPTY"):
        part.index_empty = True
    elif arguments.accept(b"INDEXMISSING"):
        part.index_missing = True
    else:
        return False
    return True
