# ruff: noqa
# fmt: off
# Generated from relay_models/backend/_async/compression.py by scripts/generate_sync.py: change that, not this.
"""`RecordCompression`: dictionaries trained from a store's runs, and stored records compressed or made plain again."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from typing import Any

from pydantic_core import to_json

from relay_models._checks import check_count
from relay_models.backend._sync.run_collection import RunCollection
from relay_models.backend._sync.store import Store
from relay_models.backend.compression import CompressionResult, CompressionStatus, DictionaryInfo
from relay_models.backend.migration import MigrationProgress, ReportProgress
from relay_models.backend.scan import scan_command
from relay_models.columns.expressions import Everything
from relay_models.documents.compression import (
    PackedTextError,
    check_compression,
    dictionary_of,
    is_packed,
    train_dictionary,
)
from relay_models.errors import InvalidConfigurationError, PermissionDeniedError
from relay_models.query.order import Order
from relay_models.query.replies import decode_body, decode_index_info
from relay_models.query.rows import RecordReader
from relay_models.transport.sync import Command, translate

__all__ = ["RecordCompression"]

# Runs that a store has when a dictionary is trained automatically, and runs that one is trained from.
_TRAIN_AFTER, _SAMPLES = 500, 1000
# Maximum bytes of a dictionary: the gain of a larger one is small, and every writer loads it.
_DICTIONARY_BYTES = 16 * 1024
# Maximum bytes of one sample and of all: training takes about 0.1 s per 2 MB.
_SAMPLE_BYTES, _SAMPLES_BYTES = 64 * 1024, 4 * 2**20
# Runs per page while samples are read, and documents per pipeline.
_RUNS_PER_PAGE, _AT_ONCE = 200, 100

# Puts another text in place of a record, if it is still the one that was read. KEYS[1] the key; ARGV[1] the SHA-1 of
# the reply that was read, ARGV[2] the new text as JSON.
_SWAP = """
local found = redis.call('JSON.GET', KEYS[1], '$.record')
if not found then return -1 end
if redis.sha1hex(found) ~= ARGV[1] then return 0 end
redis.call('JSON.SET', KEYS[1], '$.record', ARGV[2])
return 1
"""


class RecordCompression:
    """Compressed records of runs, reached as ``backend.compression``.

    A store compresses when it is opened with ``compression="zstd"`` once, or after `apply`. Its columns and its index
    stay as they are, and every read gives the same. Programs of releases that do not know compression refuse the store
    from then on. Records without compression, with, and with several dictionaries mix freely.

    A dictionary is trained automatically when a store that compresses has 500 runs. It holds fragments of the runs
    that it was trained from, and stays when they are deleted.

    Example:
        ```python
        backend.compression.train()
        result = backend.compression.apply()
        print(result.rewritten, result.bytes_before, result.bytes_after)
        ```
    """

    def __init__(self, store: Store, runs: RunCollection[Any]) -> None:
        self._store = store
        self._runs = runs
        # Runs that this backend has stored since it looked for a dictionary.
        self._stored = 0

    def status(self) -> CompressionStatus:
        """How the store's records are kept; every run is read for it.

        Raises:
            PermissionDeniedError: the user may not run ``SCAN``.
        """
        store = self._store
        store.dictionaries.refresh()
        runs = compressed = 0
        used: dict[str, int] = {}
        with closing(self._records()) as pages:
            for page in pages:
                for _, _, text in page:
                    runs += 1
                    if is_packed(text):
                        compressed += 1
                        with suppress(PackedTextError):
                            name = dictionary_of(text)
                            used[name] = used.get(name, 0) + 1
        current = store.dictionaries.current
        names = [current] if current is not None and current not in used else []
        names += sorted(name for name in used if name)
        infos = []
        for name in names:
            found = store.dictionaries.find(name)
            size = None if found is None else len(found.content)
            infos.append(DictionaryInfo(name, size, used.get(name, 0), name == current))
        return CompressionStatus(store.indexes.compressed, runs, compressed, tuple(infos))

    def train(self, *, runs: int = _SAMPLES, size: int = _DICTIONARY_BYTES) -> DictionaryInfo:
        """Train a dictionary from the store's newest runs, and compress with it from now on.

        Other writers use it within a minute. What is stored already stays readable as it is: `apply` compresses it
        with the new dictionary.

        Args:
            runs: maximum number of runs to train from.
            size: maximum bytes of the dictionary.

        Returns:
            The dictionary.

        Raises:
            InvalidConfigurationError: the store does not compress, or has too few runs to train from.
            MissingExtraError: the package that compresses is not installed.
        """
        check_count("runs", runs)
        check_count("size", size, 256)
        check_compression("zstd")
        self._store.indexes.ready()
        if not self._store.indexes.compressed:
            raise InvalidConfigurationError(
                "this store does not compress: open it with compression='zstd', or run `relay-models compress apply`"
            )
        return self._train(runs, size, if_absent=False)

    def apply(self, report: ReportProgress | None = None) -> CompressionResult:
        """Make the store compress, and compress all that is stored with its newest dictionary.

        Others read and write meanwhile; a record that another client replaces stays as that client stored it. After an
        interruption, run it again: what is done is not done again. The user needs the right to run ``EVAL``.

        Args:
            report: called with a `MigrationProgress` as it proceeds.

        Raises:
            MissingExtraError: the package that compresses is not installed.
            PermissionDeniedError: the user may not run ``EVAL`` or change the index.
        """
        check_compression("zstd")
        self._store.indexes.compress(True)
        self._store.dictionaries.refresh()
        if self._store.dictionaries.current is None and self._documents() >= _TRAIN_AFTER:
            # Where nothing can be trained, as of records that cannot be read, they are compressed without.
            with suppress(InvalidConfigurationError):
                self._train(_SAMPLES, _DICTIONARY_BYTES, if_absent=True)
        return self._rewrite(True, report)

    def undo(self, report: ReportProgress | None = None) -> CompressionResult:
        """Make all stored records plain, and the store one that does not compress. Dictionaries stay.

        Writers that have the store open go on compressing until they connect again: stop them first, or run this again
        afterwards. A record that cannot be read stays as it is, and is named in the result.

        Args:
            report: called with a `MigrationProgress` as it proceeds.

        Raises:
            MissingExtraError: the package that compresses is not installed.
            InvalidConfigurationError: this backend was opened with ``compression="zstd"``.
        """
        check_compression("zstd")
        self._store.indexes.check_undo()
        # First the records, so that a release without compression finds none; then what was stored meanwhile.
        done = self._rewrite(False, report)
        if done.unreadable:
            return done
        self._store.indexes.compress(False)
        return done.plus(self._rewrite(False, None))

    def is_due(self, stored: int) -> bool:
        """Whether `prepare` may have a dictionary to train, now that some more runs are stored."""
        if not self._store.indexes.compressed or self._store.dictionaries.current is not None:
            return False
        self._stored += stored
        return self._stored >= _TRAIN_AFTER

    def prepare(self, stored: int = 0) -> None:
        """Know the dictionary that runs are stored with, before they are; train one where the store has enough runs."""
        dictionaries = self._store.dictionaries
        if not self._store.indexes.compressed or (dictionaries.is_fresh and not self.is_due(stored)):
            return
        self._stored = 0
        dictionaries.refresh()
        if dictionaries.current is None and self._documents() >= _TRAIN_AFTER:
            # What is stored does not depend on it: the next attempt is after as many runs again.
            with suppress(InvalidConfigurationError, PermissionDeniedError):
                self._train(_SAMPLES, _DICTIONARY_BYTES, if_absent=True)

    def _train(self, runs: int, size: int, *, if_absent: bool) -> DictionaryInfo:
        samples = self._samples(runs)
        dictionary = train_dictionary(samples, size)
        self._store.dictionaries.add(dictionary, if_absent=if_absent)
        return DictionaryInfo(dictionary.id, len(dictionary.content), 0, True)

    def _documents(self) -> int:
        alias = self._store.keys.alias("run")
        return decode_index_info(self._store.transport.execute("FT.INFO", alias)).documents

    def _samples(self, most: int) -> list[bytes]:
        """The beginnings of the newest records."""
        order = Order(self._runs.document.columns()["stored_at"], descending=True, omits_missing=True)
        pages = self._runs.read(Everything(), order, RecordReader(bytes), _RUNS_PER_PAGE, most)
        samples: list[bytes] = []
        size = 0
        try:
            while size < _SAMPLES_BYTES and (page := pages.page()) is not None:
                for text in page:
                    samples.append(text[:_SAMPLE_BYTES])
                    size += len(samples[-1])
                    if size >= _SAMPLES_BYTES:
                        break
        finally:
            pages.close()
        return samples

    def _records(self) -> Generator[list[tuple[bytes, bytes, bytes]], None]:
        """The keys of runs, what the server says of their records, and the texts of these as they are kept."""
        transport, root = self._store.transport, self._store.keys.root("run")
        cursor: bytes | int = 0
        while True:
            cursor, found = transport.execute(*scan_command(root, cursor))
            for start in range(0, len(found), _AT_ONCE):
                keys: Sequence[bytes] = found[start : start + _AT_ONCE]
                replies = transport.pipeline([("JSON.GET", key, "$.record") for key in keys])
                page = []
                for key, reply in zip(keys, replies, strict=True):
                    if reply is not None and not isinstance(reply, Exception):
                        with suppress(ValueError):
                            text = decode_body(reply)
                            assert text is not None
                            page.append((key, reply, text.encode()))
                yield page
            if int(cursor) == 0:
                return

    def _rewrite(self, packed: bool, report: ReportProgress | None) -> CompressionResult:
        """Bring every record to the form that it is to have."""
        total = self._documents()
        seen = rewritten = before = after = 0
        unreadable: list[str] = []
        with closing(self._records()) as pages:
            for page in pages:
                commands: dict[bytes, tuple[Command, int, int]] = {}
                for key, reply, text in page:
                    seen += 1
                    try:
                        wanted = self._wanted(text, packed)
                    except PackedTextError as error:
                        unreadable.append(f"{key.decode('utf-8', 'backslashreplace')}: {error}")
                        continue
                    if wanted != text:
                        digest = hashlib.sha1(reply, usedforsecurity=False).hexdigest()
                        command: Command = ("EVAL", _SWAP, 1, key, digest, to_json(wanted.decode()))
                        commands[key] = command, len(text), len(wanted)
                if commands:
                    replies = self._store.transport.pipeline([command for command, _, _ in commands.values()])
                    for (sent, was, now), reply in zip(commands.values(), replies, strict=True):
                        if isinstance(reply, Exception):
                            raise translate(reply, self._store.transport.target, sent) from None
                        if reply == 1:
                            rewritten, before, after = rewritten + 1, before + was, after + now
                if report is not None:
                    report(MigrationProgress("run", "documents", min(seen, total), max(total, 1)))
        return CompressionResult(rewritten, before, after, tuple(unreadable))

    def _wanted(self, text: bytes, packed: bool) -> bytes:
        """The text that a record is to have."""
        dictionaries = self._store.dictionaries
        if packed and is_packed(text) and dictionary_of(text) == (dictionaries.current or ""):
            return text
        plain = dictionaries.read(text)
        return dictionaries.pack(plain).encode() if packed else plain
