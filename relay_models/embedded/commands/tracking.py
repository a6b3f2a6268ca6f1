"""`KeyTracking`: tells clients that keys which they read have changed; `TrackingCommands`: CLIENT TRACKING."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from fakeredis import _msgs as msgs
from fakeredis._command_args_parsing import Int
from fakeredis._helpers import OK, SimpleError, SimpleString

from relay_models.embedded.commands.config import SETTINGS
from relay_models.embedded.commands.permissions import categories_of, keys_of
from relay_models.embedded.registry import command
from relay_models.embedded.reply_types import SetReply

__all__ = ["KeyTracking", "TrackingCommands"]

_CONNECTION: Final = "@connection @slow"
_MOST_KEYS: Final = b"tracking-table-max-keys"
_CHANNEL: Final = b"__redis__:invalidate"


@dataclass(slots=True)
class _Tracked:
    """How one client is told of keys."""

    broadcast: bool = False
    opt_in: bool = False
    opt_out: bool = False
    no_loop: bool = False
    redirect: int = 0
    prefixes: list[bytes] = field(default_factory=list)
    is_chosen: bool = False
    """Whether CLIENT CACHING said of the next command that it is, or is not, to be tracked."""
    is_broken: bool = False
    """Whether the client that messages go to instead is gone."""

    @property
    def remembers(self) -> bool:
        """Whether the keys that a command reads are kept."""
        return not self.broadcast and (self.is_chosen or not self.opt_in) and not (self.is_chosen and self.opt_out)


class KeyTracking:
    """Which clients are to be told of which keys.

    Args:
        config: The settings that were changed.
    """

    def __init__(self, config: Mapping[bytes, bytes]) -> None:
        self._config = config
        self.clients: WeakKeyDictionary[Any, _Tracked] = WeakKeyDictionary()
        self.running: Any = None
        """The socket of the client whose command runs."""
        self._readers: dict[bytes, WeakSet[Any]] = {}
        self._broadcast: dict[tuple[Any, bytes], dict[bytes, None]] = {}
        self._waiting: WeakKeyDictionary[Any, list[list[bytes] | None]] = WeakKeyDictionary()

    def read(self, socket: Any, name: str, args: Sequence[bytes]) -> None:
        """Remember the keys that a client's command has read."""
        tracked = self.clients.get(socket)
        if tracked is None or not tracked.remembers or b"@read" not in categories_of(name):
            return
        for key in keys_of(name, args) or ():
            self._readers.setdefault(key, WeakSet()).add(socket)
        most = int(self._config.get(_MOST_KEYS, SETTINGS[_MOST_KEYS]))
        while 0 < most < len(self._readers):
            self.changed([next(iter(self._readers))])

    def changed(self, keys: Iterable[bytes]) -> None:
        """Tell of keys that have changed, the client whose command changed them after its reply."""
        broadcast = [(socket, tracked) for socket, tracked in self.clients.items() if tracked.broadcast]
        for key in keys:
            for socket in self._readers.pop(key, ()):
                tracked = self.clients.get(socket)
                if tracked is not None and not tracked.broadcast and not self._is_own(socket, tracked):
                    self._tell(socket, [key])
            for socket, tracked in broadcast:
                for prefix in tracked.prefixes:
                    if key.startswith(prefix) and not self._is_own(socket, tracked):
                        self._broadcast.setdefault((socket, prefix), {})[key] = None
        if self.running is None:
            self.broadcast()

    def broadcast(self) -> None:
        """Tell of all that a command, a script or a transaction changed, each prefix in one message."""
        if self._broadcast:
            told, self._broadcast = self._broadcast, {}
            for (socket, _), found in told.items():
                self._tell(socket, list(found))

    def emptied(self) -> None:
        """Tell that all keys are gone, also the client whose command removed them before its reply."""
        self._readers.clear()
        for socket in list(self.clients):
            self._send(socket, None)

    def replied(self, socket: Any) -> None:
        """Tell a client, after the reply to its command, of what that changed itself."""
        for keys in self._waiting.pop(socket, ()):
            self._send(socket, keys)

    def ended(self, socket: Any, name: str) -> None:
        """A client's command has ended, for which CLIENT CACHING may have chosen."""
        tracked = self.clients.get(socket)
        if tracked is not None and not name.startswith("client "):
            tracked.is_chosen = False

    def forget(self, socket: Any) -> None:
        """A client is gone, or is not tracked any more."""
        self.clients.pop(socket, None)

    def _is_own(self, socket: Any, tracked: _Tracked) -> bool:
        return tracked.no_loop and socket is self.running

    def _tell(self, socket: Any, keys: list[bytes] | None) -> None:
        if socket is self.running:
            self._waiting.setdefault(socket, []).append(keys)
        else:
            self._send(socket, keys)

    def _send(self, socket: Any, keys: list[bytes] | None) -> None:
        tracked = self.clients.get(socket)
        if tracked is None:
            return
        target = socket
        if tracked.redirect:
            target = socket.client_with_id(tracked.redirect)
            if target is None:
                tracked.is_broken = True
                if socket.protocol == 3:
                    socket.put_response([b"tracking-redir-broken", tracked.redirect])
                return
        if target.protocol == 3:
            target.put_response([b"invalidate", keys])
        elif target is not socket and target.is_subscribed:
            target.put_response([b"message", _CHANNEL, keys])


class TrackingCommands:
    """Mixed into the engine's sockets."""

    _server: Any
    _client_info: Any
    _pubsub: int
    takes_pushes = False
    """Whether the client can distinguish a push message from a reply, which redis-py's clients in process cannot."""

    @property
    def is_subscribed(self) -> bool:
        """Whether the client waits for published messages."""
        return self._pubsub > 0

    def client_with_id(self, number: int) -> Any:
        """The socket of the client that has this number; None where there is none."""
        return next((one for one in list(self._server.sockets) if one._client_info["id"] == number), None)

    @command("client tracking", fixed=(bytes,), repeat=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=_CONNECTION)
    def engine_client_tracking(self, mode: bytes, *args: bytes) -> SimpleString:
        tracking: KeyTracking = self._server.tracking
        wanted = self._wanted(list(args))
        if mode.lower() == b"off":
            tracking.forget(self)
            return OK
        if mode.lower() != b"on":
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        if not self.takes_pushes:
            # Accepting it would let a client keep values that other clients have changed.
            raise SimpleError("ERR CLIENT TRACKING is not supported in process; use a Redis server or `serve` for it")
        known = tracking.clients.get(self)
        _check(wanted, known)
        if wanted.broadcast:
            wanted.prefixes = [*(known.prefixes if known else ()), *wanted.prefixes] or [b""]
        tracking.clients[self] = wanted
        return OK

    def _wanted(self, args: list[bytes]) -> _Tracked:
        """The options of CLIENT TRACKING."""
        wanted = _Tracked()
        while args:
            option = args.pop(0).lower()
            if option == b"redirect" and args:
                if wanted.redirect:
                    raise SimpleError("ERR A client can only redirect to a single other client")
                wanted.redirect = Int.decode(args.pop(0))
                if self.client_with_id(wanted.redirect) is None:
                    raise SimpleError("ERR The client ID you want redirect to does not exist")
            elif option == b"prefix" and args:
                wanted.prefixes.append(args.pop(0))
            elif option == b"bcast":
                wanted.broadcast = True
            elif option == b"noloop":
                wanted.no_loop = True
            elif option == b"optin":
                wanted.opt_in = True
            elif option == b"optout":
                wanted.opt_out = True
            else:
                raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        return wanted

    @command("client caching", fixed=(bytes,), flags=msgs.FLAG_NO_SCRIPT, categories=_CONNECTION)
    def engine_client_caching(self, mode: bytes) -> SimpleString:
        tracked: _Tracked | None = self._server.tracking.clients.get(self)
        if tracked is None:
            raise SimpleError(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode"
                " enabled"
            )
        word = mode.decode("utf-8", "replace").upper()
        if word not in ("YES", "NO"):
            raise SimpleError(msgs.SYNTAX_ERROR_MSG)
        if not (tracked.opt_in if word == "YES" else tracked.opt_out):
            needed = "OPTIN" if word == "YES" else "OPTOUT"
            raise SimpleError(f"ERR CLIENT CACHING {word} is only valid when tracking is enabled in {needed} mode.")
        tracked.is_chosen = True
        return OK

    @command("client getredir", flags=msgs.FLAG_NO_SCRIPT, categories=_CONNECTION)
    def engine_client_getredir(self) -> int:
        tracked: _Tracked | None = self._server.tracking.clients.get(self)
        return -1 if tracked is None else tracked.redirect

    @command("client trackinginfo", flags=msgs.FLAG_NO_SCRIPT, categories=_CONNECTION)
    def engine_client_trackinginfo(self) -> dict[bytes, Any]:
        tracked: _Tracked | None = self._server.tracking.clients.get(self)
        if tracked is None:
            return {b"flags": SetReply([b"off"]), b"redirect": -1, b"prefixes": []}
        flags = [
            (b"on", True),
            (b"bcast", tracked.broadcast),
            (b"optin", tracked.opt_in),
            (b"optout", tracked.opt_out),
            (b"caching-yes" if tracked.opt_in else b"caching-no", tracked.is_chosen),
            (b"noloop", tracked.no_loop),
            (b"broken_redirect", tracked.is_broken),
        ]
        shown = SetReply(flag for flag, holds in flags if holds)
        return {b"flags": shown, b"redirect": tracked.redirect, b"prefixes": list(tracked.prefixes)}


def _check(wanted: _Tracked, known: _Tracked | None) -> None:
    """Refuse options that contradict each other, or those that a client has already."""
    if wanted.prefixes and not wanted.broadcast:
        raise SimpleError("ERR PREFIX option requires BCAST mode to be enabled")
    if known is not None and known.broadcast is not wanted.broadcast:
        raise SimpleError(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it"
            " with a different mode."
        )
    if wanted.broadcast and (wanted.opt_in or wanted.opt_out):
        raise SimpleError("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if wanted.opt_in and wanted.opt_out:
        raise SimpleError("ERR You can't specify both OPTIN mode and OPTOUT mode")
    if known is not None and ((wanted.opt_in and known.opt_out) or (wanted.opt_out and known.opt_in)):
        raise SimpleError(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it"
            " with a different mode."
        )
    existing = [("an existing", pair) for pair in product(wanted.prefixes, known.prefixes if known else ())]
    provided = [("another provided", pair) for pair in combinations(wanted.prefixes, 2)]
    for which, (one, other) in [*existing, *provided]:
        if one.startswith(other) or other.startswith(one):
            raise SimpleError(
                f"ERR Prefix '{one.decode('utf-8', 'replace')}' overlaps with {which} prefix "
                f"'{other.decode('utf-8', 'replace')}'. Prefixes for a single client must not overlap."
            )
