"""`AclCommands`: ACL SETUSER, GETUSER, CAT, DRYRUN and the other ACL commands."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._commands import SUPPORTED_COMMANDS
from fakeredis._helpers import OK, SimpleError, SimpleString
from fakeredis.model import get_all_commands_info

from relay_models.embedded.commands.permissions import CATEGORIES, Users, categories_of, refusal_text
from relay_models.embedded.registry import ADMIN, COMMANDS, command, split_name, subcommand_error
from relay_models.embedded.reply_types import DoubleText

__all__ = ["AclCommands"]

MAXIMUM_BITS = 4096
HELP = (
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
    "HELP",
    "    Print this help.",
)


class AclCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _client_info: Any
    _words: Sequence[bytes]

    @property
    def _users(self) -> Users:
        users: Users = self._server.acl
        return users

    @command("acl setuser", fixed=(bytes,), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_acl_setuser(self, name: bytes, *rules: bytes) -> SimpleString:
        try:
            self._users.change(name, rules)
        except ValueError as error:
            raise SimpleError(f"ERR {error}") from None
        return OK

    @command("acl deluser", fixed=(bytes,), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_acl_deluser(self, *names: bytes) -> int:
        if b"default" in names:
            raise SimpleError("ERR The 'default' user cannot be removed")
        gone = [name for name in dict.fromkeys(names) if self._users.users.pop(name, None) is not None]
        for socket in list(self._server.sockets):
            if socket._client_info.user in gone:
                socket.kill()
        return len(gone)

    @command("acl getuser", fixed=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_acl_getuser(self, name: bytes) -> dict[str, Any] | None:
        user = self._users.users.get(name)
        return None if user is None else user.as_map()

    @command("acl cat", repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_acl_cat(self, *args: bytes) -> list[bytes]:
        if not args:
            return list(CATEGORIES)
        if len(args) > 1 or args[0].lower() not in CATEGORIES:
            raise SimpleError(f"ERR Unknown category '{args[0].decode('utf-8', 'replace')}'")
        names = {*COMMANDS, *SUPPORTED_COMMANDS, *(name.decode() for name in get_all_commands_info())}
        wanted = b"@" + args[0].lower()
        found = sorted(name.replace(" ", "|") for name in names if wanted in categories_of(name))
        # Modules name their commands as they like; those of search are in capitals.
        return [(name.upper() if name.startswith("ft.") else name).encode() for name in found]

    @command("acl genpass", repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT)
    def engine_acl_genpass(self, *args: bytes) -> bytes:
        bits = Int.decode(args[0]) if args else 256
        if not 0 < bits <= MAXIMUM_BITS:
            raise SimpleError(
                "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to"
                f" {MAXIMUM_BITS}"
            )
        digits = (bits + 3) // 4
        return secrets.token_hex((digits + 1) // 2)[:digits].encode()

    @command("acl dryrun", fixed=(bytes, bytes), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=ADMIN)
    def engine_acl_dryrun(self, name: bytes, word: bytes, *args: bytes) -> Any:
        user = self._users.users.get(name)
        if user is None:
            raise SimpleError(f"ERR User '{name.decode('utf-8', 'replace')}' not found")
        full, rest = split_name([word, *args])
        signature = COMMANDS.get(full) or SUPPORTED_COMMANDS.get(full)
        if signature is None:
            raise SimpleError(f"ERR Command '{word.decode('utf-8', 'replace')}' not found")
        signature.check_arity(rest, self._server.version)
        refused = user.refusal(full, rest)
        return OK if refused is None else refusal_text(name, refused).encode()

    @command("acl save", "acl load", flags=msgs.FLAG_NO_SCRIPT)
    def engine_acl_file(self) -> SimpleString:
        raise SimpleError(msgs.MISSING_ACLFILE_CONFIG)

    def acl_log(self, *args: bytes) -> Any:
        if len(args) > 1:
            raise subcommand_error(self._words)
        reply = super().acl_log(*args)  # type: ignore[misc]
        if not isinstance(reply, list):
            return reply
        numbers = ("count", "entry-id", "timestamp-created", "timestamp-last-updated")
        return [
            {**each, **{name: int(each[name]) for name in numbers}, "age-seconds": DoubleText(each["age-seconds"])}
            for each in reply
        ]

    @command("acl help", flags=msgs.FLAG_NO_SCRIPT, categories="@slow")
    def engine_acl_help(self) -> list[bytes]:
        return [line.encode() for line in HELP]
