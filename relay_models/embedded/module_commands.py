"""The commands of the search module, and those by which clients find out what a server can do."""

from __future__ import annotations

from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._helpers import OK, SimpleString

from relay_models.embedded.protocol import PlainReply
from relay_models.embedded.registry import command

__all__ = ["ModuleCommands"]

MODULES = ((b"search", 80002), (b"ReJSON", 80004))
"""The modules that the engine stands in for: name and version, of the server whose answers it is held to."""

SEARCH_COMMANDS = (
    "ft.create", "ft.alter", "ft.dropindex", "ft.drop", "ft.info", "ft._list", "ft.search", "ft.aggregate",
    "ft.cursor", "ft.explain", "ft.explaincli", "ft.profile", "ft.tagvals", "ft.config",
    "ft.aliasadd", "ft.aliasupdate", "ft.aliasdel",
    "ft.sugadd", "ft.sugget", "ft.sugdel", "ft.suglen", "ft.spellcheck",
    "ft.get", "ft.mget", "ft.del", "ft.dictadd", "ft.dictdel", "ft.dictdump", "ft.synupdate", "ft.syndump", "ft.hybrid",
)  # fmt: skip


class ModuleCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _client_info: Any
    _resp_version: int

    _script_resp: int | None
    _in_transaction: bool

    def _search(self, name: str, args: tuple[bytes, ...]) -> Any:
        reply = self._server.search(name.upper(), list(args), self._resp_version)
        plain = type(reply) in (list, dict) and self._script_resp is None and not self._in_transaction
        return PlainReply(reply) if plain else reply

    @command("module list")
    def module_list(self) -> list[dict[bytes, Any]]:
        return [{b"name": name, b"ver": version, b"path": b"", b"args": []} for name, version in MODULES]

    @command("quit")
    def quit(self) -> SimpleString:
        return OK


def _add_search_command(name: str) -> None:
    def run(self: ModuleCommands, *args: bytes) -> Any:
        return self._search(name, args)

    run.__name__ = run.__qualname__ = name.replace(".", "_")
    setattr(ModuleCommands, run.__name__, command(name, repeat=(bytes,), flags=msgs.FLAG_SKIP_CONVERT_TO_RESP2)(run))


for _name in SEARCH_COMMANDS:
    _add_search_command(_name)
