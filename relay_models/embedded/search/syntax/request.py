"""`QueryRequest`: what FT.SEARCH and FT.AGGREGATE both take, with the real server's error messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from relay_models.embedded.search.arguments import (
    NO_ARGUMENT,
    OUT_OF_BOUNDS,
    UNPARSABLE,
    Arguments,
    display,
    parse_bound,
    parse_integer,
)
from relay_models.embedded.search.errors import SearchError, UnsupportedError
from relay_models.embedded.search.index.schema import LANGUAGES
from relay_models.embedded.search.index.settings import Settings

__all__ = ["Arrangement", "CursorOptions", "LegacyFilter", "Markup", "QueryRequest", "check_expand", "read_common"]


@dataclass(slots=True)
class Arrangement:
    """A SORTBY and LIMIT that belong together. `keys` holds (name, ascending)."""

    keys: list[tuple[bytes, bool]] = field(default_factory=list)
    sorted: bool = False
    offset: int = 0
    limit: int = 0
    limited: bool = False


@dataclass(slots=True)
class CursorOptions:
    count: int
    max_idle: int


@dataclass(slots=True)
class LegacyFilter:
    """FILTER field low high."""

    field: bytes
    low: float
    high: float
    with_low: bool
    with_high: bool


@dataclass(slots=True)
class Markup:
    """HIGHLIGHT and SUMMARIZE. `fields` empty: all that are returned."""

    highlight: bool = False
    highlight_fields: list[bytes] = field(default_factory=list)
    tags: tuple[bytes, bytes] = (b"<b>", b"</b>")
    summarize: bool = False
    summarize_fields: list[bytes] = field(default_factory=list)
    fragments: int = 3
    length: int = 20
    separator: bytes = b"... "


@dataclass(slots=True)
class QueryRequest:
    """The options of both commands."""

    query: bytes
    dialect: int
    params: dict[bytes, bytes] = field(default_factory=dict)
    timeout: int | None = None
    verbatim: bool = False
    in_order: bool = False
    slop: int | None = None
    language: str | None = None
    no_stop_words: bool = False
    in_keys: list[bytes] | None = None
    in_fields: list[bytes] | None = None
    scorer: bytes | None = None
    expander: bytes | None = None
    payload: bytes | None = None
    with_scores: bool = False
    explain_score: bool = False
    add_scores: bool = False
    with_sort_keys: bool = False
    with_payloads: bool = False
    no_content: bool = False
    raw_ids: bool = False
    returns: list[tuple[bytes, bytes]] | None = None
    """(name, path) of RETURN; None without it."""
    markup: Markup = field(default_factory=Markup)
    filters: list[LegacyFilter] = field(default_factory=list)
    expand: bool = False
    cursor: CursorOptions | None = None
    count_only: bool = False
    with_count: bool | None = None
    bare: bool = False
    """Whether only the documents are wanted: neither their scores, nor the positions of words."""

    def settle_count(self) -> None:
        """Set the default of WITHCOUNT once the options are parsed: dialect 4 counts only on request.

        FT.AGGREGATE's options end where the first step begins: a DIALECT after that is too late for this.
        """
        if self.with_count is None and self.dialect >= 4:
            self.with_count = False


def check_expand(request: QueryRequest, protocol: int) -> None:
    """Raise `SearchError` where FORMAT EXPAND does not go with the protocol or the dialect."""
    if request.expand and protocol < 3:
        raise SearchError("EXPAND format is only supported with RESP3")
    if request.expand and request.dialect < 3:
        raise SearchError("EXPAND format requires dialect 3 or greater")


_FLAGS = {
    b"INORDER": "in_order",
    b"VERBATIM": "verbatim",
    b"WITHSCORES": "with_scores",
    b"ADDSCORES": "add_scores",
    b"WITHSORTKEYS": "with_sort_keys",
    b"WITHPAYLOADS": "with_payloads",
    b"NOCONTENT": "no_content",
    b"NOSTOPWORDS": "no_stop_words",
    b"EXPLAINSCORE": "explain_score",
}


def read_query_options(request: QueryRequest, arguments: Arguments) -> bool:
    """Parse one option about what is searched for. Returns whether there was one."""
    word = arguments.peek().upper()
    if word in _FLAGS:
        arguments.take()
        setattr(request, _FLAGS[word], True)
    elif word == b"INFIELDS":
        arguments.take()
        request.in_fields = arguments.counted("INFIELDS").values
    elif word == b"INKEYS":
        arguments.take()
        request.in_keys = arguments.counted("INKEYS").values
    elif word == b"SLOP":
        arguments.take()
        request.slop = arguments.integer("SLOP")
    elif word == b"LANGUAGE":
        arguments.take()
        language = display(arguments.text("LANGUAGE")).lower()
        if language not in LANGUAGES:
            raise SearchError("No such language")
        if language == "chinese":
            raise UnsupportedError("LANGUAGE chinese is")
        request.language = language
    elif word == b"EXPANDER":
        arguments.take()
        request.expander = arguments.text("EXPANDER")
    elif word == b"SCORER":
        arguments.take()
        request.scorer = arguments.text("SCORER")
    elif word == b"PAYLOAD":
        arguments.take()
        request.payload = arguments.text("PAYLOAD")
    elif word == b"RETURN":
        arguments.take()
        request.returns = _returns(arguments.counted("RETURN"))
        if not request.returns:
            request.no_content = True
    else:
        return False
    return True


def _returns(arguments: Arguments) -> list[tuple[bytes, bytes]]:
    fields: dict[bytes, bytes] = {}
    while arguments:
        name = path = arguments.take()
        if arguments.accept(b"AS"):
            if not arguments:
                raise SearchError("RETURN path AS name - must be accompanied with NAME")
            name = arguments.take()
            if name.upper() == b"AS":
                raise SearchError("Alias for RETURN cannot be `AS`")
        fields.setdefault(name, path)
    return list(fields.items())


def read_markup(request: QueryRequest, arguments: Arguments) -> bool:
    """Parse HIGHLIGHT or SUMMARIZE. Returns whether there was one."""
    markup = request.markup
    if arguments.accept(b"HIGHLIGHT"):
        markup.highlight = True
        while arguments:
            if arguments.accept(b"FIELDS"):
                markup.highlight_fields = _marked_fields(arguments, "HIGHLIGHT")
            elif arguments.accept(b"TAGS"):
                if arguments.remaining < 2:
                    raise SearchError("Bad arguments for HIGHLIGHT")
                markup.tags = (arguments.take(), arguments.take())
            else:
                break
        return True
    if arguments.accept(b"SUMMARIZE"):
        markup.summarize = True
        while arguments:
            if arguments.accept(b"FIELDS"):
                markup.summarize_fields = _marked_fields(arguments, "SUMMARIZE")
            elif arguments.accept(b"LEN"):
                markup.length = _positive(arguments)
            elif arguments.accept(b"FRAGS"):
                markup.fragments = _positive(arguments)
            elif arguments.accept(b"SEPARATOR"):
                if not arguments:
                    raise SearchError("Bad arguments for SUMMARIZE")
                markup.separator = arguments.take()
            else:
                break
        return True
    return False


def _positive(arguments: Arguments) -> int:
    number = parse_integer(arguments.take()) if arguments else None
    if number is None or number < 0:
        raise SearchError("Bad arguments for SUMMARIZE")
    return number


def _marked_fields(arguments: Arguments, name: str) -> list[bytes]:
    try:
        return arguments.counted(name).values
    except SearchError:
        raise SearchError(f"Bad arguments for {name}") from None


def read_filter(arguments: Arguments) -> LegacyFilter:
    """What follows FILTER in FT.SEARCH."""
    if arguments.remaining < 3:
        raise SearchError("FILTER requires 3 arguments")
    name = arguments.take()
    least, most = arguments.take(), arguments.take()
    low, high = parse_bound(least, lower=True), parse_bound(most, lower=False)
    return LegacyFilter(name, low, high, not least.startswith(b"("), not most.startswith(b"("))


_ANYWHERE = frozenset(
    (
        *(b"LIMIT", b"SORTBY", b"TIMEOUT", b"WITHCURSOR", b"WITHRAWIDS", b"PARAMS", b"DIALECT", b"FORMAT"),
        b"BM25STD_TANH_FACTOR",
    )
)


def read_common(
    request: QueryRequest, arrangement: Arrangement, arguments: Arguments, settings: Settings, *, search: bool
) -> bool:
    """Parse one option that may be anywhere. Returns whether there was one."""
    word = arguments.peek().upper()
    if word not in _ANYWHERE:
        return False
    arguments.take()
    if word == b"LIMIT":
        _limit(request, arrangement, arguments, settings, search)
    elif word == b"SORTBY":
        (_sort_one if search else _sort_many)(arrangement, arguments)
    elif word == b"TIMEOUT":
        if not arguments:
            raise SearchError("Need argument for TIMEOUT")
        timeout = parse_integer(arguments.take())
        if timeout is None or timeout < 0:
            raise SearchError("TIMEOUT requires a non negative integer")
        request.timeout = timeout
    elif word == b"WITHCURSOR":
        request.cursor = read_cursor_options(arguments, settings)
    elif word == b"WITHRAWIDS":
        request.raw_ids = True
    elif word == b"PARAMS":
        request.params = read_params(request, arguments)
    elif word == b"DIALECT":
        request.dialect = read_dialect(arguments)
    elif word == b"FORMAT":
        if not arguments:
            raise SearchError("Need an argument for FORMAT")
        format = arguments.take()
        if format.upper() not in (b"STRING", b"EXPAND"):
            raise SearchError(f"FORMAT {display(format)} is not supported")
        request.expand = format.upper() == b"EXPAND"
    else:
        factor = parse_integer(arguments.take()) if arguments else None
        if factor is None or not 1 <= factor <= 10_000:
            raise SearchError("BM25STD_TANH_FACTOR must be between 1 and 10000 inclusive")
    return True


def read_dialect(arguments: Arguments) -> int:
    if not arguments:
        raise SearchError("Need an argument for DIALECT")
    dialect = parse_integer(arguments.take())
    if dialect is None or not 1 <= dialect <= 4:
        raise SearchError("DIALECT requires a non negative integer >=1 and <= 4")
    return dialect


def read_params(request: QueryRequest, arguments: Arguments) -> dict[bytes, bytes]:
    if request.params:
        raise SearchError("Multiple PARAMS are not allowed. Parameters can be defined only once")
    count = parse_integer(arguments.take()) if arguments else None
    if count is None:
        why = (
            UNPARSABLE if arguments.position and arguments.values[arguments.position - 1] != b"PARAMS" else NO_ARGUMENT
        )
        raise SearchError(f"Bad arguments for PARAMS: {why}")
    if count < 0:
        raise SearchError(f"Bad arguments for PARAMS: {OUT_OF_BOUNDS}")
    if count > arguments.remaining:
        raise SearchError(f"Bad arguments for PARAMS: {NO_ARGUMENT}")
    if count == 0 or count % 2:
        raise SearchError("Parameters must be specified in PARAM VALUE pairs")
    params: dict[bytes, bytes] = {}
    for _ in range(count // 2):
        name, value = arguments.take(), arguments.take()
        if name in params:
            raise SearchError(f"Duplicate parameter `{display(name)}`")
        params[name] = value
    return params


def read_cursor_options(arguments: Arguments, settings: Settings) -> CursorOptions:
    longest = settings.numbers["CURSOR_MAX_IDLE"]
    options = CursorOptions(settings.numbers["CURSOR_READ_SIZE"], longest)
    while arguments:
        if arguments.accept(b"COUNT"):
            options.count = arguments.integer("COUNT", 1, (1 << 32) - 1)
        elif arguments.accept(b"MAXIDLE"):
            options.max_idle = min(arguments.integer("MAXIDLE", 1, (1 << 32) - 1), longest)
        else:
            break
    return options


def _limit(
    request: QueryRequest, arrangement: Arrangement, arguments: Arguments, settings: Settings, search: bool
) -> None:
    if arguments.remaining < 2:
        raise SearchError("LIMIT requires two arguments")
    offset, limit = parse_integer(arguments.take()), parse_integer(arguments.take())
    if offset is None or limit is None or offset < 0 or limit < 0:
        raise SearchError("LIMIT needs two numeric arguments")
    if not limit and offset:
        raise SearchError("The `offset` of the LIMIT must be 0 when `num` is 0")
    most = settings.numbers["MAXSEARCHRESULTS" if search else "MAXAGGREGATERESULTS"]
    if limit > most:
        raise SearchError(f"LIMIT exceeds maximum of {most}")
    if limit and offset > settings.numbers["MAXSEARCHRESULTS"]:
        raise SearchError(f"OFFSET exceeds maximum of {settings.numbers['MAXSEARCHRESULTS']}")
    request.count_only = not limit
    arrangement.offset, arrangement.limit, arrangement.limited = offset, limit, True


def _sort_one(arrangement: Arrangement, arguments: Arguments) -> None:
    if arrangement.sorted:
        raise SearchError("Multiple SORTBY steps are not allowed")
    if not arguments:
        raise SearchError("Bad SORTBY arguments")
    name, ascending = arguments.take(), True
    if arguments.accept(b"DESC"):
        ascending = False
    else:
        arguments.accept(b"ASC")
    if arguments.accept(b"MAX"):
        raise SearchError("SORTBY MAX is not supported by FT.SEARCH")
    arrangement.keys, arrangement.sorted = [(name, ascending)], True


def _sort_many(arrangement: Arrangement, arguments: Arguments) -> None:
    if arrangement.sorted:
        raise SearchError("Multiple SORTBY steps are not allowed. Sort multiple fields in a single step")
    part = arguments.counted("SORTBY")
    keys: list[tuple[bytes, bool]] = []
    while part:
        word = part.take()
        if word.startswith(b"@"):
            if len(keys) >= 8:
                raise SearchError("Cannot sort by more than 8 fields")
            keys.append((word[1:], True))
        elif word.upper() in (b"ASC", b"DESC") and keys:
            keys[-1] = (keys[-1][0], word.upper() == b"ASC")
        elif word.upper() not in (b"ASC", b"DESC"):
            raise SearchError(f"MISSING ASC or DESC after sort field ({display(word)})")
    if arguments.accept(b"MAX"):
        number = parse_integer(arguments.take()) if arguments else None
        if number is None or number < 0:
            raise SearchError(f"Bad arguments for MAX: {UNPARSABLE}")
        arrangement.limit = number
    arrangement.keys, arrangement.sorted = keys, True
