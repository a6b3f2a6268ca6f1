"""`ModuleCommands`: the FT.* commands, MODULE LIST and QUIT."""

from __future__ import annotations

from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._helpers import OK, SimpleError, SimpleString

from relay_models.embedded.registry import ADMIN, command
from relay_models.embedded.reply_types import PlainReply
from relay_models.embedded.search.commands import SEARCH_COMMANDS, SearchCommand

__all__ = ["ModuleCommands"]

MODULES = ((b"search", 80002), (b"ReJSON", 80004))
"""The modules that the engine emulates: name and version, of the server that its replies are compared with."""


class ModuleCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _client_info: Any
    _resp_version: int

    _script_resp: int | None
    _in_transaction: bool

    def _search(self, declared: SearchCommand, args: tuple[bytes, ...]) -> Any:
        if self._server.guarded and declared.index is not None:
            self._check_prefixes(args[declared.index : declared.index + 1])
        reply = self._server.search(declared, list(args), self._resp_version)
        plain = type(reply) in (list, dict) and self._script_resp is None and not self._in_transaction
        return PlainReply(reply) if plain else reply

    def _check_prefixes(self, index: tuple[bytes, ...]) -> None:
        """Refuse a user who may not read every key that an index may contain."""
        user = self._server.acl.get_user_acl(self._client_info.user)
        if user.unlimited or not index:
            return
        prefixes = self._server.engine.prefixes(index[0])
        if prefixes is not None and not user.reaches_all(prefixes, "R"):
            raise SimpleError("NOPERM User does not have the required permissions to query the index")

    @command("module list", categories=ADMIN)
    def module_list(self) -> list[dict[bytes, Any]]:
        return [{b"name": name, b"ver": version, b"path": b"", b"args": []} for name, version in MODULES]

    @command("quit", categories="@connection @fast")
    def quit(self) -> SimpleString:
        return OK


def _add_search_command(declared: SearchCommand) -> None:
    def run(self: ModuleCommands, *args: bytes) -> Any:
        return self._search(declared, args)

    name = declared.name.lower()
    run.__name__ = run.__qualname__ = name.replace(".", "_")
    register = command(
        name,
        repeat=(bytes,),
        flags=msgs.FLAG_SKIP_CONVERT_TO_RESP2,
        categories=declared.categories,
        set_reply=declared.set_reply,
    )
    setattr(ModuleCommands, run.__name__, register(run))


for _declared in SEARCH_COMMANDS.values():
    _add_search_command(_declared)
