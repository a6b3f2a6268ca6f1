"""`RedoLog`: small changes made durable with one short write, until a transaction of the file includes them.

A transaction of SQLite writes whole pages, of every index, for a single changed document. So small batches of changes
are appended to this log instead, while the transaction stays open, and are committed together later. What the log holds
is replayed when a file is opened that was not closed.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from relay_models.embedded.errors import DamagedFileError
from relay_models.embedded.persistence.encoding import pack, unpack

__all__ = ["Change", "RedoLog"]

MAGIC: Final = b"RelMRedo"
HEADER: Final = struct.Struct(">8sQ")
FRAME: Final = struct.Struct(">III")
"""Length and checksum of the content, and a checksum of these two."""


_ABOUT: Final = struct.Struct(">II")


class Change(NamedTuple):
    """The change of one key: its kind (see `encoding`), expiry and content; no content where it was deleted."""

    db: int
    key: bytes
    kind: int = 0
    expire: float | None = None
    content: bytes | None = None


class RedoLog:
    """The log of the file at `path`.

    Every log belongs to one generation of the file, which each of its transactions ends: a log of an earlier one is
    recognized and ignored.
    """

    def __init__(self, path: str, *, sync: bool) -> None:
        self.path = path + "-redo"
        self.size = 0
        self._sync = sync
        self._descriptor = -1

    def read(self, generation: int) -> Iterator[list[Change]]:
        """The batches of this generation, up to the first that was not written whole. Raises `DamagedFileError`."""
        for payload in self._payloads(generation):
            yield _decode(payload)

    def check(self, generation: int) -> None:
        """Check the whole log for damage before anything is changed. Raises `DamagedFileError`."""
        for _ in self._payloads(generation):
            pass

    def _payloads(self, generation: int) -> Iterator[bytes]:
        if not os.path.exists(self.path):
            return
        with open(self.path, "rb") as file:
            header = file.read(HEADER.size)
            if len(header) < HEADER.size:
                return
            magic, number = HEADER.unpack(header)
            if magic != MAGIC or number > generation:
                # It is ahead of the file, which has lost transactions.
                raise self._damaged()
            if number < generation:
                return
            while len(frame := file.read(FRAME.size)) == FRAME.size:
                length, checksum, check = FRAME.unpack(frame)
                whole = zlib.crc32(frame[:8]) == check
                payload = file.read(length) if whole else b""
                if whole and len(payload) < length:
                    return  # the process died while it wrote this
                if not whole or zlib.crc32(payload) != checksum:
                    if (frame + payload + file.read()).strip(b"\0"):
                        raise self._damaged()
                    return  # space allocated before a power failure
                yield payload

    def _damaged(self) -> DamagedFileError:
        return DamagedFileError(
            f"{self.path} is damaged; restore it and the file beside it from a backup, or remove it to do without the"
            " last changes"
        )

    def append(self, generation: int, changes: list[Change]) -> None:
        """Add one batch, which after a crash is there completely or not at all."""
        if self._descriptor < 0:
            self._start(generation)
        payload = _encode(changes)
        about = _ABOUT.pack(len(payload), zlib.crc32(payload))
        frame = b"".join((about, zlib.crc32(about).to_bytes(4, "big"), payload))
        written = os.write(self._descriptor, frame)
        while written < len(frame):
            written += os.write(self._descriptor, frame[written:])
        self.size += len(frame)
        if self._sync:
            os.fsync(self._descriptor)

    def _start(self, generation: int) -> None:
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.write(self._descriptor, HEADER.pack(MAGIC, generation))
        if self._sync:
            os.fsync(self._descriptor)
            _sync_directory(os.path.dirname(self.path))

    def reset(self, generation: int) -> None:
        """Begin the log of a new generation, after a transaction that includes its content."""
        self.size = 0
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, HEADER.pack(MAGIC, generation))

    def close(self, *, remove: bool) -> None:
        """Close the log, and remove it where nothing in it is needed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if remove:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


def _encode(changes: list[Change]) -> bytes:
    fields: list[bytes] = []
    for change in changes:
        expire = b"" if change.expire is None else repr(change.expire).encode()
        fields += (b"%d %d" % (change.db, -1 if change.content is None else change.kind), change.key, expire)
        fields.append(change.content or b"")
    return pack(fields)


def _decode(payload: bytes) -> list[Change]:
    fields = unpack(payload)
    changes: list[Change] = []
    for at in range(0, len(fields), 4):
        numbers, key, expire, content = fields[at : at + 4]
        db, kind = map(int, numbers.split())
        if kind < 0:
            changes.append(Change(db, key))
        else:
            changes.append(Change(db, key, kind, float(expire) if expire else None, content))
    return changes


def _sync_directory(path: str) -> None:
    with contextlib.suppress(OSError):  # Windows cannot, and need not
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
