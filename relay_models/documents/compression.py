"""`Packer`: the text of a record compressed with zstd, with or without a dictionary, and read again.

What is kept is ``zstd:<dictionary>:<frame>``: the id of the dictionary, empty for none, and a zstd frame in base64.
No JSON text begins like that, so compressed and plain records stand side by side. RedisJSON keeps a text as UTF-8,
where base64 is within 7 % of the densest text that is quick to make.
"""

from __future__ import annotations

import binascii
import functools
import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from relay_models.errors import InvalidConfigurationError, MissingExtraError

__all__ = [
    "MAX_RECORD",
    "Compression",
    "Dictionary",
    "PackedText",
    "PackedTextError",
    "Packer",
    "UnknownDictionaryError",
    "check_compression",
    "dictionary_of",
    "is_packed",
    "train_dictionary",
    "unpack",
]

Compression: TypeAlias = Literal["zstd"]
"""How a store can keep the text of its records."""

Pack: TypeAlias = Callable[[bytes], str]

MAX_RECORD = 64 * 2**20
"""Maximum bytes of a record that is compressed; longer ones are kept plain, and nothing is ever unpacked to more."""

_MARK = b"zstd:"
_ID_LENGTH = 12
_HEAD = re.compile(rb"zstd:([0-9a-f]{12}|):")
# 21 % smaller than level 3 for 45 µs more of a record of 5 KB; higher ones gain little.
_LEVEL = 9
# Texts that are shorter gain nothing.
_SHORTEST = 64


class PackedTextError(ValueError):
    """The compressed text of a record cannot be read."""


class UnknownDictionaryError(PackedTextError):
    """A record was compressed with a dictionary that is not there; `dictionary` is its id."""

    def __init__(self, dictionary: str) -> None:
        super().__init__(
            f"its record was compressed with the dictionary {dictionary!r}, which the store does not have: restore the "
            f"key that ends with '@dictionary:{dictionary}' from a backup"
        )
        self.dictionary = dictionary


class PackedText(bytes):
    """A compressed text that could not be read, with the reason."""

    error: PackedTextError

    @classmethod
    def of(cls, text: bytes, error: PackedTextError) -> PackedText:
        """The text with the reason why it cannot be read."""
        made = cls(text)
        made.error = error
        return made


@functools.cache
def zstd() -> Any:
    """The module that compresses: of Python 3.14, or the package that brings it to earlier ones.

    Raises:
        MissingExtraError: there is none.
    """
    try:
        from compression import zstd as found  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from backports import zstd as found
        except ImportError:
            raise MissingExtraError(
                "records are compressed in this store, which needs the package backports.zstd on Python before 3.14: "
                "pip install 'relay-models[zstd]'"
            ) from None
    return found


def check_compression(compression: object) -> None:
    """Refuse what is no way of compressing, or cannot be done here.

    Raises:
        InvalidConfigurationError: it is neither ``"zstd"`` nor None.
        MissingExtraError: the package that compresses is not installed.
    """
    if compression is None:
        return
    if compression != "zstd":
        raise InvalidConfigurationError(
            f"compression is 'zstd', or None to do what the store does already, not {compression!r}"
        )
    zstd()


class Dictionary:
    """What many records have in common, by which each of them becomes much smaller.

    Args:
        content: the dictionary as zstd writes it.

    Attributes:
        id: the first twelve hexadecimal digits of the content's SHA-256: another content has another id.
        content: the dictionary itself.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.id = hashlib.sha256(content).hexdigest()[:_ID_LENGTH]
        module = zstd()
        try:
            self.zstd = module.ZstdDict(content)
        except (ValueError, module.ZstdError) as error:
            raise PackedTextError(f"it is no zstd dictionary: {error}") from None


class Packer:
    """Compresses the texts of records, from any thread.

    Args:
        dictionary: what they have in common; None without.
    """

    def __init__(self, dictionary: Dictionary | None = None) -> None:
        module = zstd()
        parameter = module.CompressionParameter
        options = {parameter.compression_level: _LEVEL, parameter.checksum_flag: 1, parameter.dict_id_flag: 0}
        self.dictionary = dictionary
        self._head = f"{_MARK.decode()}{dictionary.id if dictionary else ''}:"
        # One compressor for all: to make one takes longer than to compress a record.
        self._compressor = module.ZstdCompressor(options=options, zstd_dict=dictionary.zstd if dictionary else None)
        self._lock = threading.Lock()

    def pack(self, text: bytes) -> str:
        """The text as it is kept: compressed, or as it is where that is shorter."""
        if not _SHORTEST <= len(text) <= MAX_RECORD:
            return text.decode()
        compressor = self._compressor
        with self._lock:
            compressor.set_pledged_input_size(len(text))
            frame = compressor.compress(text, compressor.FLUSH_FRAME)
        packed = self._head + binascii.b2a_base64(frame, newline=False).decode()
        return packed if len(packed) < len(text) else text.decode()


def is_packed(text: bytes) -> bool:
    """Whether the text of a record is compressed."""
    return text.startswith(_MARK)


def dictionary_of(text: bytes) -> str:
    """The id of the dictionary that a compressed text needs; empty for none.

    Raises:
        PackedTextError: it is none.
    """
    found = _HEAD.match(text)
    if found is None:
        raise PackedTextError("its compressed record is damaged: it does not say which dictionary it needs")
    return found[1].decode()


def unpack(text: bytes, dictionary: Dictionary | None) -> bytes:
    """The text of a record as it was before it was compressed.

    Args:
        text: the compressed text.
        dictionary: the dictionary whose id `dictionary_of` gives.

    Raises:
        PackedTextError: the text is damaged, or would become longer than `MAX_RECORD`.
    """
    module = zstd()
    try:
        frame = binascii.a2b_base64(text[text.index(b":", len(_MARK)) + 1 :], strict_mode=True)
        size = module.get_frame_info(frame).decompressed_size
        if size is None or size > MAX_RECORD:
            raise PackedTextError(
                f"its compressed record says that it becomes {size} bytes, more than the {MAX_RECORD} that are kept so"
            )
        # One for each record: a decompressor ends with its frame.
        decompressor = module.ZstdDecompressor(None if dictionary is None else dictionary.zstd)
        # One byte more than it says, so that a frame that goes on is seen.
        found: bytes = decompressor.decompress(frame, size + 1)
    except (binascii.Error, module.ZstdError, EOFError) as error:
        raise PackedTextError(f"its compressed record is damaged: {error}") from None
    if not decompressor.eof or decompressor.unused_data or len(found) != size:
        raise PackedTextError("its compressed record is damaged: it is cut, or more follows it")
    return found


def train_dictionary(samples: Sequence[bytes], size: int) -> Dictionary:
    """What samples have in common.

    Args:
        samples: texts of records.
        size: maximum bytes of the dictionary.

    Raises:
        InvalidConfigurationError: the samples are too few or too short to have anything in common.
    """
    module = zstd()
    try:
        return Dictionary(module.train_dict(samples, size).dict_content)
    except (ValueError, module.ZstdError) as error:
        raise InvalidConfigurationError(
            f"no dictionary of {size:,} bytes can be made of {len(samples):,} runs with {sum(map(len, samples)):,} "
            f"bytes: {error}; store more runs first, or choose a smaller dictionary"
        ) from None
