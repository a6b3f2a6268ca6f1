"""`Dictionaries`: what the records of a store are compressed with, read once and kept while the backend is open."""

from __future__ import annotations

import binascii
import time
from typing import Any

from pydantic_core import from_json, to_json

from relay_models.documents import Keys
from relay_models.documents.compression import (
    Dictionary,
    PackedText,
    PackedTextError,
    Packer,
    UnknownDictionaryError,
    check_compression,
    dictionary_of,
    is_packed,
    unpack,
)
from relay_models.errors import CorruptDocumentError, IndexOutdatedError
from relay_models.query.replies import record_slots
from relay_models.transport import Command, Transport, translate

__all__ = ["Dictionaries"]

# Seconds after which a writer looks whether another process has trained a dictionary.
_FRESH = 60.0


class Dictionaries:
    """Reads compressed records, and compresses those that are stored.

    A dictionary is kept under a key that its content names, and is never changed. One key says which of them new
    records are compressed with, so that any number of them stand side by side.

    Args:
        transport: sends the commands.
        keys: the names of keys.
    """

    def __init__(self, transport: Transport, keys: Keys) -> None:
        self._transport = transport
        self._keys = keys
        self._known: dict[str, Dictionary] = {}
        self._packer: Packer | None = None
        self._looked: float | None = None
        self._used: Dictionary | None = None
        """What records were compressed with since the store was asked last."""
        self.is_lost = False
        """Whether the store named a current dictionary, when it was asked last, that it does not have intact."""

    @property
    def current(self) -> str | None:
        """The id of the dictionary that records are compressed with, as far as this backend knows."""
        return None if self._packer is None or self._packer.dictionary is None else self._packer.dictionary.id

    @property
    def is_fresh(self) -> bool:
        """Whether the store was asked lately which dictionary is the current one."""
        return self._looked is not None and time.monotonic() - self._looked < _FRESH

    def pack(self, text: bytes) -> str:
        """The text of a record as it is to be stored."""
        packer = self._packer
        if packer is None:
            packer = self._packer = Packer()
        self._used = packer.dictionary
        return packer.pack(text)

    @property
    def settings_command(self) -> Command:
        """The command that asks how the store's records are compressed."""
        return ("JSON.GET", self._keys.compression, "$")

    def receive_settings(self, reply: Any) -> bool:
        """Take the reply to `settings_command`, and tell whether records are compressed.

        Raises:
            IndexOutdatedError: they are compressed in a way that this release does not know.
        """
        if isinstance(reply, Exception):
            raise translate(reply, self._transport.target, self.settings_command) from None
        return self._settings(reply) is not None

    async def turn_on(self) -> None:
        """Note in the store that its records are compressed."""
        check_compression("zstd")
        await self._transport.execute("JSON.SET", self._keys.compression, "$", '{"kind":"zstd"}', "NX")
        # A store that was emptied lacks the dictionary, too: look before the next record.
        self._looked = None

    async def turn_off(self) -> None:
        """Note in the store that its records are no longer compressed. The dictionaries stay."""
        await self._transport.execute("DEL", self._keys.compression)
        self._packer, self._looked = None, None

    async def refresh(self) -> None:
        """Look which dictionary is the current one.

        One that records were compressed with since the last time, and that is gone, is put back: they need it.
        """
        settings = self._settings(await self._transport.execute(*self.settings_command))
        used, self._used = self._used, None
        if used is not None:
            # A path that nothing has: of the key the user may read, whether it is there.
            found = await self._transport.execute("JSON.GET", self._keys.dictionary(used.id), "$.id")
            if found is None:
                await self._keep(used)
        self._looked = time.monotonic()
        name = None if settings is None else settings.get("dictionary")
        if not isinstance(name, str):
            name = None
        if self._packer is None or name != self.current:
            # Where it is gone or damaged, records are stored that need none.
            self._packer = Packer(None if name is None else await self.find(name))
        self.is_lost = name != self.current

    async def find(self, name: str) -> Dictionary | None:
        """The dictionary with an id; None where the store does not have it, or has it damaged."""
        try:
            return await self.load(name)
        except CorruptDocumentError:
            return None

    async def load(self, name: str) -> Dictionary | None:
        """The dictionary with an id; None where the store does not have it.

        Raises:
            CorruptDocumentError: what the store has is another one, or none.
        """
        found = self._known.get(name)
        if found is None:
            key = self._keys.dictionary(name)
            reply = await self._transport.execute("JSON.GET", key, "$.content")
            if reply is None:
                return None
            try:
                found = Dictionary(binascii.a2b_base64(from_json(reply)[0], strict_mode=True))
            except (ValueError, IndexError, TypeError) as error:
                raise CorruptDocumentError(key.decode(), f"it is no dictionary: {error}") from None
            if found.id != name:
                raise CorruptDocumentError(key.decode(), f"it is another dictionary, {found.id}")
            self._known[name] = found
        return found

    async def add(self, dictionary: Dictionary, *, if_absent: bool = False) -> None:
        """Keep a dictionary in the store, and compress with it from now on.

        Args:
            dictionary: the dictionary.
            if_absent: leave the one that another process has trained meanwhile, unless it is lost.
        """
        await self._keep(dictionary)
        # The dictionary is there before the first record can need it.
        await self.turn_on()
        await self.refresh()
        only = ["NX"] if if_absent and not self.is_lost else []
        await self._transport.execute("JSON.SET", self._keys.compression, "$.dictionary", to_json(dictionary.id), *only)
        await self.refresh()

    async def _keep(self, dictionary: Dictionary) -> None:
        """Put a dictionary into the store, in place of a damaged one with its id; an intact one is the same."""
        content = to_json({"content": binascii.b2a_base64(dictionary.content, newline=False).decode()})
        await self._transport.execute("JSON.SET", self._keys.dictionary(dictionary.id), "$", content)

    async def read(self, text: bytes) -> bytes:
        """The text of a record that may be compressed.

        Raises:
            UnknownDictionaryError: the store does not have its dictionary.
            PackedTextError: it is damaged.
            MissingExtraError: the package that reads it is not installed.
        """
        if not is_packed(text):
            return text
        name = dictionary_of(text)
        if not name:
            return unpack(text, None)
        try:
            found = self._known.get(name) or await self.load(name)
        except CorruptDocumentError as error:
            raise PackedTextError(f"its record was compressed with a dictionary that is damaged: {error}") from None
        if found is None:
            raise UnknownDictionaryError(name)
        return unpack(text, found)

    async def read_rows(self, reply: Any) -> None:
        """Put the texts of records in a reply with rows in place of the compressed ones.

        One that cannot be read becomes a `PackedText`, which says why: its row is an error of its own.
        """
        for row, place, text in record_slots(reply):
            if is_packed(text):
                try:
                    row[place] = await self.read(text)
                except PackedTextError as error:
                    row[place] = PackedText.of(text, error)

    def _settings(self, reply: Any) -> dict[str, Any] | None:
        """What the store says about compression; None where records are plain."""
        if reply is None:
            return None
        found = from_json(reply)[0]
        if not isinstance(found, dict) or found.get("kind") != "zstd":
            raise IndexOutdatedError(
                f"the records of the store on {self._transport.target.label} are compressed in a way that this release "
                "of relay_models does not know: a newer release made it (upgrade)"
            )
        return found
