"""`Guard`: who may ask, from where, and what a page may load."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

from relay_models.errors import InvalidConfigurationError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "Tokens", "check_exposure", "is_loopback"]

# No inline script or style runs, nothing is loaded from elsewhere, and no page can frame this one.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
MOST_WRONG, PER_SECONDS = 30, 60.0
"""Wrong passwords that one address may send, and the time after which they are forgotten (seconds)."""
_MOST_ADDRESSES = 10_000
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    return host.strip("[]").lower() in _LOOPBACK


def check_exposure(host: str, password: str | None) -> None:
    """Refuse to listen where others can connect without a password: runs hold prompts.

    Raises:
        InvalidConfigurationError: the address is not a loopback address and there is no password.
    """
    if password is None and not is_loopback(host):
        raise InvalidConfigurationError(
            f"listening on {host} lets others read the runs: set a password (--ask-web-password, --web-password-file "
            "or RELAY_MODELS_WEB_PASSWORD), or listen on 127.0.0.1"
        )


class Tokens:
    """The token that every form carries. Only pages of this process know it, so no other site can send a form."""

    def __init__(self) -> None:
        self.value = secrets.token_urlsafe(24)

    def accepts(self, given: str) -> bool:
        """Whether a form came from one of this process's pages."""
        return hmac.compare_digest(given.encode(), self.value.encode())


class Guard:
    """Middleware: checks the host, the password and where a form comes from, and sets the headers.

    Args:
        app: the application.
        password: the password to ask for (HTTP Basic, with any user name); None for none.
    """

    def __init__(self, app: ASGIApp, password: str | None = None) -> None:
        self.app = app
        self._password = None if password is None else _digest(password.encode())
        self._wrong: dict[str, tuple[int, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name, value) for name, value in message["headers"] if name.decode().lower() not in HEADERS]
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*given, *own]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send_with_headers)
            return
        status, text = refusal
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        if status == 401:
            headers.append((b"www-authenticate", b'Basic realm="relay-models", charset="UTF-8"'))
        if status == 429:
            headers.append((b"retry-after", str(int(PER_SECONDS)).encode()))
        await send_with_headers({"type": "http.response.start", "status": status, "headers": headers})
        await send_with_headers({"type": "http.response.body", "body": text.encode()})

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if self._password is None:
            # A page of another site whose name leads to this machine must not read anything.
            if not is_loopback(_host_name(headers.get("host", ""))):
                return 421, "open this page as http://127.0.0.1 or http://localhost\n"
        elif (fault := self._password_fault(scope, headers.get("authorization", ""))) is not None:
            return fault
        if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return 403, "forms of other sites are refused\n"
        return None

    def _password_fault(self, scope: Scope, header: str) -> tuple[int, str] | None:
        """What is wrong with the password; an address that sent many wrong ones is not listened to for a while."""
        address = str((scope.get("client") or ("",))[0])
        count, began = self._wrong.get(address, (0, 0.0))
        now = time.monotonic()
        if now - began >= PER_SECONDS:
            count, began = 0, now
        if count >= MOST_WRONG:
            return 429, "too many wrong passwords: wait a minute\n"
        if self._knows_password(header):
            return None
        if header:
            self._wrong.pop(address, None)
            self._wrong[address] = count + 1, began
            if len(self._wrong) > _MOST_ADDRESSES:
                del self._wrong[next(iter(self._wrong))]
        return 401, "a password is needed; the user name does not matter\n"

    def _knows_password(self, header: str) -> bool:
        scheme, _, value = header.partition(" ")
        if scheme.lower() != "basic" or self._password is None:
            return False
        try:
            _, _, given = base64.b64decode(value, validate=True).partition(b":")
        except ValueError:
            return False
        return hmac.compare_digest(_digest(given), self._password)


def _digest(password: bytes) -> bytes:
    """Of the same length for every password, so that comparing takes the same time."""
    return hashlib.sha256(password).digest()


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0].strip("[")
    return host.partition(":")[0]
