"""`Settings`: the defaults and limits of FT.CONFIG, named and printed as the real server does."""

from __future__ import annotations

from relay_models.embedded.search.arguments import (
    NO_ARGUMENT,
    OUT_OF_BOUNDS,
    UNPARSABLE,
    Arguments,
    display,
    parse_integer,
)
from relay_models.embedded.search.errors import SearchError

__all__ = ["CONFIG_NAMES", "Settings"]

_NUMBERS: dict[str, tuple[int, int, int]] = {
    # name: (default, lowest, highest)
    "TIMEOUT": (500, 0, 1 << 62),
    "DEFAULT_DIALECT": (1, 1, 4),
    "MINPREFIX": (2, 1, 1 << 31),
    "MAXEXPANSIONS": (200, 1, 1 << 31),
    "MAXPREFIXEXPANSIONS": (200, 1, 1 << 31),
    "MINSTEMLEN": (4, 2, 1 << 31),
    "MAXSEARCHRESULTS": (1_000_000, 0, 1 << 62),
    "MAXAGGREGATERESULTS": (2_147_483_648, 0, 1 << 62),
    "MAXDOCTABLESIZE": (1_000_000, 1, 100_000_000),
    "CURSOR_MAX_IDLE": (300_000, 0, 1 << 62),
    "CURSOR_READ_SIZE": (1000, 1, 1 << 62),
    "MULTI_TEXT_SLOP": (100, 1, 1 << 31),
    "MIN_PHONETIC_TERM_LEN": (3, 1, 1 << 31),
    "UNION_ITERATOR_HEAP": (20, 1, 1 << 31),
    "MAX_RESULTS_TO_UNSORTED_MODE": (1000, 1, 1 << 31),
    "FORK_GC_RUN_INTERVAL": (30, 1, 1 << 62),
    "FORK_GC_CLEAN_THRESHOLD": (100, 0, 1 << 62),
    "FORKGC_SLEEP_BEFORE_EXIT": (0, 0, 1 << 62),
    "FORK_GC_RETRY_INTERVAL": (5, 1, 1 << 62),
    "GCSCANSIZE": (100, 1, 1 << 62),
    "TIERED_HNSW_BUFFER_LIMIT": (1024, 0, 1 << 62),
    "VSS_MAX_RESIZE": (0, 0, 1 << 62),
    "WORKERS": (0, 0, 16),
    "MIN_OPERATION_WORKERS": (4, 0, 16),
    "INDEX_CURSOR_LIMIT": (128, 0, 1 << 62),
    "BM25STD_TANH_FACTOR": (4, 1, 10_000),
}
_WORDS: dict[str, tuple[str, frozenset[str]]] = {
    "ON_TIMEOUT": ("return", frozenset(("return", "fail"))),
    "GC_POLICY": ("fork", frozenset(("fork",))),
    "PARTIAL_INDEXED_DOCS": ("false", frozenset(("true", "false"))),
    "_NUMERIC_COMPRESS": ("false", frozenset(("true", "false"))),
    "_FREE_RESOURCE_ON_THREAD": ("true", frozenset(("true", "false"))),
    "_PRINT_PROFILE_CLOCK": ("true", frozenset(("true", "false"))),
    "RAW_DOCID_ENCODING": ("false", frozenset(("true", "false"))),
    "NOGC": ("false", frozenset(("true", "false"))),
    "NO_MEM_POOLS": ("false", frozenset(("true", "false"))),
    "ENABLE_UNSTABLE_FEATURES": ("false", frozenset(("true", "false"))),
}
_FIXED = frozenset(
    ("MAXDOCTABLESIZE", "GC_POLICY", "RAW_DOCID_ENCODING", "NOGC", "NO_MEM_POOLS", "PARTIAL_INDEXED_DOCS", "EXTLOAD")
)
CONFIG_NAMES = {
    "search-cursor-max-idle": "CURSOR_MAX_IDLE",
    "search-cursor-read-size": "CURSOR_READ_SIZE",
    "search-default-dialect": "DEFAULT_DIALECT",
    "search-fork-gc-clean-threshold": "FORK_GC_CLEAN_THRESHOLD",
    "search-fork-gc-retry-interval": "FORK_GC_RETRY_INTERVAL",
    "search-fork-gc-run-interval": "FORK_GC_RUN_INTERVAL",
    "search-fork-gc-sleep-before-exit": "FORKGC_SLEEP_BEFORE_EXIT",
    "search-index-cursor-limit": "INDEX_CURSOR_LIMIT",
    "search-max-aggregate-results": "MAXAGGREGATERESULTS",
    "search-max-doctablesize": "MAXDOCTABLESIZE",
    "search-max-prefix-expansions": "MAXPREFIXEXPANSIONS",
    "search-max-search-results": "MAXSEARCHRESULTS",
    "search-min-operation-workers": "MIN_OPERATION_WORKERS",
    "search-min-phonetic-term-len": "MIN_PHONETIC_TERM_LEN",
    "search-min-prefix": "MINPREFIX",
    "search-min-stem-len": "MINSTEMLEN",
    "search-on-timeout": "ON_TIMEOUT",
    "search-timeout": "TIMEOUT",
    "search-union-iterator-heap": "UNION_ITERATOR_HEAP",
    "search-workers": "WORKERS",
}
"""The settings by the names that CONFIG GET and CONFIG SET have for them."""

_UNLIMITED = frozenset(("MAXSEARCHRESULTS", "MAXAGGREGATERESULTS"))


class Settings:
    """The values in force. They last as long as the engine is open, as on the real server."""

    def __init__(self) -> None:
        self.numbers = {name: default for name, (default, _, _) in _NUMBERS.items()}
        self.words = {name: default for name, (default, _) in _WORDS.items()}

    def get(self, name: bytes) -> list[list[bytes | None]]:
        """The [name, value] pairs that FT.CONFIG GET answers."""
        wanted = display(name).upper()
        known = {**{key: str(value) for key, value in self.numbers.items()}, **self.words}
        for each in _UNLIMITED:
            if self.numbers[each] >= 1 << 62:
                known[each] = "unlimited"
        chosen = sorted(known) if wanted == "*" else [wanted] if wanted in known else []
        pairs: list[list[bytes | None]] = [[each.encode(), known[each].encode()] for each in chosen]
        if wanted in ("*", "EXTLOAD", "FRISOINI"):
            pairs += [[each.encode(), None] for each in ("EXTLOAD", "FRISOINI") if wanted in ("*", each)]
        return pairs

    def by_config_name(self) -> dict[str, str]:
        """All settings that CONFIG GET returns, with their values."""
        values = {**{name: str(number) for name, number in self.numbers.items()}, **self.words}
        return {name: values[setting] for name, setting in CONFIG_NAMES.items()}

    def set(self, name: bytes, arguments: Arguments) -> None:
        """FT.CONFIG SET. Raises `SearchError`."""
        wanted = display(name).upper()
        if wanted in _FIXED:
            raise SearchError("Not modifiable at runtime")
        if wanted not in self.words and wanted not in self.numbers:
            raise SearchError("Invalid option")
        if not arguments:
            raise SearchError(NO_ARGUMENT)
        value = arguments.take()
        if wanted in self.words:
            word = display(value).lower()
            if word not in _WORDS[wanted][1]:
                raise SearchError("Invalid argument" if wanted != "ON_TIMEOUT" else "Invalid ON_TIMEOUT value")
            self.words[wanted] = word
            return
        number = parse_integer(value)
        if wanted in _UNLIMITED and (number == -1 or value.lower() == b"unlimited"):
            self.numbers[wanted] = 1 << 62
            return
        _, low, high = _NUMBERS[wanted]
        if number is None:
            raise SearchError(UNPARSABLE)
        if wanted == "DEFAULT_DIALECT" and not low <= number <= high:
            raise SearchError("Default dialect version cannot be higher than 4")
        if not low <= number <= high:
            raise SearchError(OUT_OF_BOUNDS)
        self.numbers[wanted] = number
        if wanted in ("MAXEXPANSIONS", "MAXPREFIXEXPANSIONS"):
            self.numbers["MAXEXPANSIONS"] = self.numbers["MAXPREFIXEXPANSIONS"] = number
