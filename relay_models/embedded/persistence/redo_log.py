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
from relay_models.embedded.persistence.side_files import open_own

__all__ = ["Change", "RedoLog"]

MAGIC: Final = b"RelMRed3"
HEADER: Final = struct.Struct(">8sQQ")
"""The magic, the file's generation, and the token of its opening."""

# Written by format 2, without a token, and its batches without a time.
OLD_MAGIC: Final = b"RelMRedo"
OLD_HEADER: Final = struct.Struct(">8sQ")

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
    """The log of the file at `path`, which errors call `name`.

    Every log belongs to one opening of a file, by its token, and to one generation of the file, which each of its
    transactions ends: a log of an earlier one is recognized and ignored.
    """

    def __init__(self, path: str, name: str, *, sync: bool) -> None:
        self.path = path + "-redo"
        self._name = name + "-redo"
        self.mode = 0o600
        """The permissions of a new log: those of the file."""
        self.size = 0
        """The size of the batches in the log, in bytes."""
        self.outdated = False
        """Whether the log that was read has the former format, which is not continued."""
        self._sync = sync
        self._descriptor = -1

    def exists(self, token: int) -> bool:
        """Whether there is a log of this opening, or the beginning of one."""
        try:
            with open(open_own(self.path, os.O_RDONLY), "rb") as file:
                header = file.read(HEADER.size)
        except FileNotFoundError:
            return False
        if len(header) < HEADER.size or header.startswith(OLD_MAGIC):
            return True
        return header.startswith(MAGIC) and bool(HEADER.unpack(header)[2] == token)

    def read(self, generation: int, token: int) -> Iterator[tuple[int, list[Change]]]:
        """The batches of this generation, each with its time in µs, up to the first that was not written whole.

        Raises `DamagedFileError`.
        """
        for payload in self._payloads(generation, token):
            yield _decode(payload, timed=not self.outdated)

    def check(self, generation: int, token: int) -> None:
        """Check the whole log for damage before anything is changed. Raises `DamagedFileError`."""
        for _ in self._payloads(generation, token):
            pass

    def _payloads(self, generation: int, token: int) -> Iterator[bytes]:
        self.size = 0
        self.open()
        if self._descriptor < 0:
            return
        with open(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            self.outdated = file.read(8) == OLD_MAGIC
            file.seek(0)
            layout = OLD_HEADER if self.outdated else HEADER
            header = file.read(layout.size)
            if len(header) < layout.size:
                return
            if self.outdated:
                number, opening = layout.unpack(header)[1], token
            else:
                magic, number, opening = layout.unpack(header)
                if magic != MAGIC:
                    raise self._damaged()
            if opening != token:
                if file.read(1):
                    raise DamagedFileError(f"{self._name} belongs to another file or to another copy of it; {_ADVICE}")
                return  # begun by a process that was killed before it changed anything
            if number > generation:
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
                self.size += FRAME.size + length
                yield payload

    def _damaged(self) -> DamagedFileError:
        return DamagedFileError(f"{self._name} is damaged, or ahead of its file; {_ADVICE}")

    def open(self) -> None:
        """Open the log, where there is one, so that it is this one whatever is done to its name."""
        if self._descriptor < 0:
            with contextlib.suppress(FileNotFoundError):
                self._descriptor = open_own(self.path, os.O_RDWR)

    def begin(self, generation: int, token: int) -> None:
        """Create the log, or begin it again, without batches."""
        if self._descriptor < 0:
            self._descriptor = open_own(self.path, os.O_RDWR | os.O_CREAT, self.mode)
        self.reset(generation, token)
        if self._sync:
            os.fsync(self._descriptor)
            _sync_directory(os.path.dirname(self.path))

    def resume(self, generation: int, token: int) -> None:
        """Continue the log that was read, after its last whole batch."""
        if not self.size:
            self.begin(generation, token)
            return
        self._cut(self.size)

    def append(self, changes: list[Change], time: int) -> None:
        """Add one batch, which after a crash is there completely or not at all. `time` is the engine's, in µs."""
        payload = _encode(changes, time)
        about = _ABOUT.pack(len(payload), zlib.crc32(payload))
        frame = b"".join((about, zlib.crc32(about).to_bytes(4, "big"), payload))
        try:
            self._write(frame)
            if self._sync:
                os.fsync(self._descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                self._cut(self.size)
            raise
        self.size += len(frame)

    def reset(self, generation: int, token: int) -> None:
        """Begin the log of a new generation, after a transaction that includes its content."""
        self.size = 0
        # In this order: batches under the header of a later generation would be applied a second time.
        self._cut(0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._write(HEADER.pack(MAGIC, generation, token))

    def _write(self, data: bytes) -> None:
        written = os.write(self._descriptor, data)
        while written < len(data):
            written += os.write(self._descriptor, data[written:])

    def _cut(self, size: int) -> None:
        os.ftruncate(self._descriptor, min(HEADER.size + size, os.fstat(self._descriptor).st_size))
        os.lseek(self._descriptor, 0, os.SEEK_END)

    @property
    def status(self) -> os.stat_result | None:
        """The status of the open log, None where none is open."""
        return os.fstat(self._descriptor) if self._descriptor >= 0 else None

    def close(self, *, remove: bool) -> None:
        """Close the log, and remove it where nothing in it is needed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if remove:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


_ADVICE: Final = "restore it and the file beside it from a backup, or empty it to do without the last changes"


def _encode(changes: list[Change], time: int) -> bytes:
    fields: list[bytes] = [b"%d" % time]
    for change in changes:
        expire = b"" if change.expire is None else repr(change.expire).encode()
        fields += (b"%d %d" % (change.db, -1 if change.content is None else change.kind), change.key, expire)
        fields.append(change.content or b"")
    return pack(fields)


def _decode(payload: bytes, *, timed: bool) -> tuple[int, list[Change]]:
    fields = unpack(payload)
    time = int(fields.pop(0)) if timed else 0
    changes: list[Change] = []
    for at in range(0, len(fields), 4):
        numbers, key, expire, content = fields[at : at + 4]
        db, kind = map(int, numbers.split())
        if kind < 0:
            changes.append(Change(db, key))
        else:
            changes.append(Change(db, key, kind, float(expire) if expire else None, content))
    return time, changes


def _sync_directory(path: str) -> None:
    with contextlib.suppress(OSError):  # Windows cannot, and need not
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
