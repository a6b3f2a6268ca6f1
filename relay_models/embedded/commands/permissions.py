"""`Users`: the users of an engine and their permissions, set by the rules of ACL SETUSER.

fakeredis keeps such rules but lets much through that they forbid: commands of modules, commands that scripts call,
every key for a user who was given none. So the engine has its own, which refuse what is not known to be allowed.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from fakeredis._commands import COMMANDS_WITH_SUB, SUPPORTED_COMMANDS, Key
from fakeredis._helpers import SimpleError
from fakeredis.model import AccessControlList, get_categories, get_command_info

from relay_models.embedded.glob import compile_glob
from relay_models.embedded.registry import COMMANDS, CONTAINERS

__all__ = ["CATEGORIES", "Users", "categories_of", "keys_of"]

CATEGORIES = sorted({*get_categories(), b"search", b"json"})

# Commands of fakeredis that it knows no categories of.
_UNCATEGORIZED = {"client maint_notifications": frozenset((b"@slow", b"@connection"))}

# Which argument is the number of keys; the keys follow it.
_COUNTED = {
    **dict.fromkeys(("eval", "evalsha", "fcall", "fcall_ro", "blmpop", "bzmpop"), 1),
    **dict.fromkeys(("zunion", "zinter", "zdiff", "zintercard", "sintercard", "sunioncard", "sdiffcard"), 0),
    **dict.fromkeys(("lmpop", "zmpop"), 0),
    **dict.fromkeys(("zunionstore", "zinterstore", "zdiffstore"), 1),
}
_ALL_BUT_LAST = frozenset(("blpop", "brpop", "bzpopmin", "bzpopmax"))
_FIRST_TWO = frozenset(("blmovem", "brpoplpush"))
_STORES = frozenset(("sort", "georadius", "georadiusbymember"))

_SUBSCRIBING = frozenset(("subscribe", "ssubscribe", "psubscribe"))

ALWAYS_ALLOWED = frozenset(("auth", "hello", "quit", "reset", "client maint_notifications"))
"""What a connection begins or ends with. The last does nothing, but redis-py sends it."""


def _info(name: str) -> list[Any] | None:
    found: list[Any] | None = get_command_info(name.encode())
    return found


def categories_of(name: str) -> frozenset[bytes]:
    """The categories of a command, each with its ``@``."""
    declared = COMMANDS.get(name)
    if declared is not None and declared.categories is not None:
        return declared.categories
    info = _info(name)
    return _UNCATEGORIZED.get(name, frozenset()) if info is None else frozenset(info[6])


def keys_of(name: str, args: Sequence[bytes]) -> list[bytes] | None:
    """The keys that a command names, or None where it may reach any."""
    declared = COMMANDS.get(name)
    counted = None if declared is None else declared.key_count
    place = _COUNTED.get(name) if counted is None else counted
    if place is not None:
        try:
            number = int(args[place])
        except (IndexError, ValueError):
            return []  # the command itself reports the error
        keys = list(args[place + 1 : place + 1 + max(0, number)])
        return [args[0], *keys] if name.endswith("store") else keys
    if name in ("xread", "xreadgroup"):
        for place, word in enumerate(args):
            if word.upper() == b"STREAMS":
                rest = args[place + 1 :]
                return list(rest[: len(rest) // 2])
        return []
    if name in _STORES or name == "sort_ro":
        words = [word.upper() for word in args]
        if name.startswith("sort") and (b"BY" in words[1:] or b"GET" in words[1:]):
            return None
        stored = [args[place + 1] for place, word in enumerate(words[:-1]) if place and word.startswith(b"STORE")]
        return [*args[:1], *stored]
    if name in _ALL_BUT_LAST:
        return list(args[:-1])
    if name in _FIRST_TWO:
        return list(args[:2])
    if declared is not None and declared.keys is not None:
        first, last = declared.keys
        return list(args[first : last + 1 if last >= 0 else len(args) + last + 1])
    signature = declared or SUPPORTED_COMMANDS.get(name)
    kinds: Iterable[Any] = ()
    if signature is not None:
        kinds = itertools.chain(signature.fixed, itertools.cycle(signature.repeat))
    keys = [arg for arg, kind in zip(args, kinds, strict=False) if type(kind) is Key]
    if keys or name == "sunsubscribe":
        return keys
    # Other commands name their keys in a way that is not known here.
    info = _info(name)
    return None if info is not None and (info[3] > 0 or b"movablekeys" in info[2]) and not _channels(name, args) else []


def _channels(name: str, args: Sequence[bytes]) -> list[bytes]:
    if name in ("publish", "spublish"):
        return list(args[:1])
    return list(args) if name in _SUBSCRIBING else []


class Permissions:
    """The commands, keys and channels of a user, or of one of its selectors."""

    def __init__(self) -> None:
        self.rules: list[bytes] = [b"-@all"]
        self.keys: dict[bytes, str] = {}
        """The rights (R, W, RW) for the keys that match each pattern."""
        self.channels: list[bytes] = []

    def add(self, rule: bytes) -> bool:
        """Apply a rule about commands, keys or channels. Returns whether it was one; raises `ValueError`."""
        word = rule.lower()
        word = {b"allcommands": b"+@all", b"nocommands": b"-@all"}.get(word, word)
        if word[:1] in (b"+", b"-") and len(word) > 1:
            self._command(word)
        elif word in (b"allkeys", b"~*"):
            self.keys = {b"*": "RW"}
        elif word == b"resetkeys":
            self.keys = {}
        elif word in (b"allchannels", b"&*"):
            self.channels = [b"*"]
        elif word == b"resetchannels":
            self.channels = []
        elif rule[:1] == b"&":
            self.channels = [*dict.fromkeys((*self.channels, rule[1:]))]
        elif rule[:1] == b"~":
            self.keys[rule[1:]] = "RW"
        elif found := re.match(rb"%(R|W|RW|WR)~(.*)\Z", rule, re.DOTALL | re.IGNORECASE):
            rights = {*found[1].decode().upper(), *self.keys.get(found[2], "")}
            self.keys[found[2]] = "".join(sorted(rights))
        else:
            return False
        return True

    def _command(self, rule: bytes) -> None:
        target = rule[1:]
        if target == b"@all":
            self.rules = [rule]
            return
        name = target.decode("utf-8", "replace").replace("|", " ")
        if not (target[1:] in CATEGORIES if target[:1] == b"@" else _known(name)):
            raise ValueError("Unknown command or category name in ACL")
        self.rules = [each for each in self.rules if each[1:] != target or each[1:] == b"@all"] + [rule]

    @property
    def unlimited(self) -> bool:
        return self.rules == [b"+@all"] and b"*" in self.keys and b"*" in self.channels

    def runs(self, name: str) -> bool:
        """Whether a command is allowed: the last rule about it says."""
        categories = categories_of(name)
        words = (name.encode().replace(b" ", b"|"), name.partition(" ")[0].encode())
        for rule in reversed(self.rules):
            target = rule[1:]
            if target == b"@all" or target in categories or target in words:
                return rule[:1] == b"+"
        return False

    def reaches(self, key: bytes, rights: str) -> bool:
        return any(set(rights) <= set(has) and fits(pattern, key) for pattern, has in self.keys.items())

    def reaches_all(self, prefix: bytes, rights: str) -> bool:
        """Whether all keys with these prefixes are allowed."""
        for pattern, has in self.keys.items():
            start = pattern[:-1]
            plain = pattern[-1:] == b"*" and not set(start) & set(b"*?[\\")
            if plain and prefix.startswith(start) and set(rights) <= set(has):
                return True
        return False

    def hears(self, channel: bytes, literal: bool) -> bool:
        return any(channel == pattern if literal else fits(pattern, channel) for pattern in self.channels) or (
            b"*" in self.channels
        )

    def key_rules(self) -> list[bytes]:
        return [b"~" + key if has == "RW" else b"%" + has.encode() + b"~" + key for key, has in self.keys.items()]

    def channel_rules(self) -> list[bytes]:
        return [b"&" + channel for channel in self.channels]

    def described(self) -> dict[str, Any]:
        """The selector as ACL GETUSER returns it."""
        return {
            "commands": b" ".join(self.rules),
            "keys": b" ".join(self.key_rules()),
            "channels": b" ".join(self.channel_rules()),
        }

    def refusal(self, name: str, args: Sequence[bytes]) -> tuple[str, bytes] | None:
        """Why a command is refused: ("command" | "key" | "channel", which), or None."""
        if not self.runs(name):
            return "command", name.encode().replace(b" ", b"|")
        rights = "RW" if b"@write" in categories_of(name) else "R"
        keys = keys_of(name, args)
        if keys is None:
            return None if self.reaches_all(b"", rights) else ("key", args[0] if args else b"")
        for key in keys:
            if not self.reaches(key, rights):
                return "key", key
        for channel in _channels(name, args):
            if not self.hears(channel, name == "psubscribe"):
                return "channel", channel
        return None


def fits(pattern: bytes, text: bytes) -> bool:
    return pattern == b"*" or compile_glob(pattern).match(text) is not None


def _known(name: str) -> bool:
    """Whether there is a command, or a group of commands, of this name."""
    known = (COMMANDS, CONTAINERS, SUPPORTED_COMMANDS, COMMANDS_WITH_SUB)
    return any(name in names for names in known) or _info(name) is not None


class User:
    """One user: whether it may log in, its passwords, and what it may do."""

    def __init__(self) -> None:
        self.enabled = False
        self.no_password = False
        self.passwords: dict[bytes, None] = {}
        self.root = Permissions()
        self.selectors: list[Permissions] = []

    def check_password(self, password: bytes | None) -> bool:
        if not self.enabled:
            return False
        return self.no_password or hashlib.sha256(password or b"").hexdigest().encode() in self.passwords

    def apply(self, rule: bytes) -> None:
        """Apply one rule. Raises `ValueError` with the reason where it is invalid."""
        word, mark, rest = rule.lower(), rule[:1], rule[1:]
        if word in (b"on", b"off"):
            self.enabled = word == b"on"
        elif word == b"nopass":
            self.no_password, self.passwords = True, {}
        elif word == b"resetpass":
            self.no_password, self.passwords = False, {}
        elif word == b"reset":
            self.__init__()  # type: ignore[misc]
        elif word in (b"sanitize-payload", b"skip-sanitize-payload"):
            pass
        elif word == b"clearselectors":
            self.selectors = []
        elif mark == b"(" and rule[-1:] == b")":
            selector = Permissions()
            for part in rest[:-1].split():
                if not selector.add(part):
                    raise ValueError("Syntax error")
            self.selectors.append(selector)
        elif mark == b">" or mark == b"#":
            hashed = hashlib.sha256(rest).hexdigest().encode() if mark == b">" else rest
            if not re.fullmatch(rb"[0-9a-f]{64}", hashed):
                raise ValueError(
                    "The provided password hash must be exactly 64 characters and contain only lowercase hexadecimal"
                    " characters"
                )
            self.no_password = False
            self.passwords[hashed] = None
        elif mark == b"<" or mark == b"!":
            hashed = hashlib.sha256(rest).hexdigest().encode() if mark == b"<" else rest
            if hashed not in self.passwords:
                raise ValueError("The password you are trying to remove from the user does not exist")
            del self.passwords[hashed]
        elif not rule or not self.root.add(rule):
            raise ValueError("Syntax error")

    @property
    def unlimited(self) -> bool:
        return self.root.unlimited

    def refusal(self, name: str, args: Sequence[bytes]) -> tuple[str, bytes] | None:
        refused = None if name in ALWAYS_ALLOWED else self.root.refusal(name, args)
        if refused is None or any(selector.refusal(name, args) is None for selector in self.selectors):
            return None
        return refused

    def reaches_all(self, prefixes: Iterable[bytes], rights: str) -> bool:
        sets = (self.root, *self.selectors)
        return all(any(each.reaches_all(prefix, rights) for each in sets) for prefix in prefixes)

    def _flags(self) -> list[bytes]:
        return [b"on" if self.enabled else b"off"] + ([b"nopass"] if self.no_password else []) + [b"sanitize-payload"]

    def as_map(self) -> dict[str, Any]:
        """The user as ACL GETUSER returns it."""
        root = self.root.described()
        selectors = [selector.described() for selector in self.selectors]
        return {"flags": self._flags(), "passwords": list(self.passwords), **root, "selectors": selectors}

    def as_rule(self) -> bytes:
        channels = self.root.channel_rules()
        parts = [*self._flags(), *(b"#" + password for password in self.passwords), *self.root.key_rules()]
        parts += channels if channels == [b"&*"] else [b"resetchannels", *channels]
        parts += self.root.rules
        for each in self.selectors:
            inner = [*each.key_rules(), b"resetchannels", *each.channel_rules(), *each.rules]
            parts.append(b"(" + b" ".join(inner) + b")")
        return b" ".join(parts)


class Users(AccessControlList):
    """All users, in place of fakeredis' own; its record of refusals is kept."""

    def __init__(self) -> None:
        super().__init__()
        default = User()
        for rule in (b"on", b"nopass", b"~*", b"&*", b"+@all"):
            default.apply(rule)
        self.users: dict[bytes, User] = {b"default": default}

    def get_users(self) -> list[bytes]:
        return sorted(self.users)

    def get_user_acl(self, username: bytes) -> User:  # type: ignore[override]
        """The user of this name; one without any permission where there is none."""
        return self.users.get(username) or User()

    def as_rules(self) -> list[bytes]:
        return [b"user " + name + b" " + self.users[name].as_rule() for name in self.get_users()]

    def change(self, name: bytes, rules: Sequence[bytes]) -> None:
        """Apply all rules or none to a user, created if necessary. Raises `ValueError` with the reply's text."""
        user = copy.deepcopy(self.users.get(name)) or User()
        for rule in rules:
            try:
                user.apply(rule)
            except ValueError as error:
                raise ValueError(
                    f"Error in ACL SETUSER modifier '{rule.decode('utf-8', 'replace')}': {error}"
                ) from None
        self.users[name] = user

    def check(self, user: bytes, info: Any, name: str, args: Sequence[bytes], context: bytes = b"toplevel") -> None:
        """Raise the error for a command that a user may not run."""
        found = self.users.get(user) or User()
        if found.unlimited:
            return
        refused = found.refusal(name, args)
        if refused is None:
            return
        reason, what = refused
        self.add_log_record(reason.encode(), context, what, user, info.as_bytes())
        raise SimpleError("NOPERM " + refusal_text(user, refused, brief=True))


def refusal_text(user: bytes, refused: tuple[str, bytes], *, brief: bool = False) -> str:
    """Why a command is refused; `brief` does not repeat which key or channel it was."""
    reason, what = refused
    shown = what.decode("utf-8", "replace")
    name = user.decode("utf-8", "replace")
    if reason == "command":
        return f"User {name} has no permissions to run the '{shown}' command"
    if brief:
        return f"No permissions to access a {reason}"
    return f"User {name} has no permissions to access the '{shown}' {reason}"
