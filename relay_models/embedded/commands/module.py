"""The commands of the search module, and those by which clients find out what a server can do."""

from __future__ import annotations

from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._helpers import OK, SimpleError, SimpleString

from relay_models.embedded.registry import command
from relay_models.embedded.server.protocol import PlainReply

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

SEARCH_WRITES = frozenset((
    "ft.create", "ft.alter", "ft.dropindex", "ft.drop", "ft.aliasadd", "ft.aliasupdate", "ft.aliasdel", "ft.sugadd",
    "ft.sugdel", "ft.del", "ft.dictadd", "ft.dictdel", "ft.synupdate",
))  # fmt: skip
WITHOUT_INDEX = frozenset((
    "ft.create", "ft._list", "ft.config", "ft.aliasdel", "ft.dictadd", "ft.dictdel", "ft.dictdump",
    "ft.sugadd", "ft.sugget", "ft.sugdel", "ft.suglen",
))  # fmt: skip
INDEX_SECOND = frozenset(("ft.cursor", "ft.aliasadd", "ft.aliasupdate"))


class ModuleCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _client_info: Any
    _resp_version: int

    _script_resp: int | None
    _in_transaction: bool

    def _search(self, name: str, args: tuple[bytes, ...]) -> Any:
        if self._server.guarded and name not in WITHOUT_INDEX:
            self._check_prefixes(args[1:2] if name in INDEX_SECOND else args[:1])
        reply = self._server.search(name.upper(), list(args), self._resp_version)
        plain = type(reply) in (list, dict) and self._script_resp is None and not self._in_transaction
        return PlainReply(reply) if plain else reply

    def _check_prefixes(self, index: tuple[bytes, ...]) -> None:
        """Refuse a user who may not read all that an index may hold."""
        user = self._server.acl.get_user_acl(self._client_info.user)
        if user.unlimited or not index:
            return
        prefixes = self._server.engine.prefixes(index[0])
        if prefixes is not None and not user.reaches_all(prefixes, "R"):
            raise SimpleError("NOPERM User does not have the required permissions to query the index")

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
