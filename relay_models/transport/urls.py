"""URLs of stores, taken apart: what redis-py needs, a label without the password, and what must never be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.connection import parse_url

from relay_models.errors import InvalidConfigurationError

__all__ = ["Target", "parse_target", "scrub", "target_of_client"]

SCHEMES = ("redis", "rediss", "unix")
_SECRET_OPTIONS = ("password", "ssl_password")


@dataclass(frozen=True)
class Target:
    """Where a store is: `label` may be shown, `options` and `secrets` may not (and are left out of the repr)."""

    label: str
    scheme: str
    options: Mapping[str, Any] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False, default=())


def parse_target(url: str, options: Mapping[str, Any] | None = None) -> Target:
    """Read ``redis://``, ``rediss://`` (TLS) or ``unix://``; `options` are redis-py's and win over the URL's.

    Raises `InvalidConfigurationError`, whose message never holds the password.
    """
    if not isinstance(url, str):
        raise InvalidConfigurationError(f"the URL of a store is text, not {type(url).__name__}")
    options = dict(options or {})
    secrets = _secrets(url, options)
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme, parts.port
        parsed: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        scheme, port, parsed = url.partition("://")[0], None, {}
        if scheme in SCHEMES:
            raise InvalidConfigurationError(
                f"the {scheme}:// URL cannot be read: it is {scheme}://[user:password@]host[:port], where '/', '?', "
                "'#', '@', ':' and '%' in a user name or a password are written as %2F, %3F, %23, %40, %3A and %25"
            ) from None
    if scheme not in SCHEMES:
        raise InvalidConfigurationError(
            "the URL of a store begins with redis://, rediss:// (TLS) or unix:// (a socket's path); "
            "RedisBackend.embedded(path) needs no server and no URL"
        )
    merged = {**parsed, **options}
    try:
        db = int(merged.get("db") or 0)
    except (TypeError, ValueError):
        raise InvalidConfigurationError("the database in the URL is not a number") from None
    if db != 0:
        raise InvalidConfigurationError(
            f"database {db} cannot be used: Redis searches database 0 only; give each store its own key_prefix instead"
        )
    merged.pop("db", None)
    merged.pop("connection_class", None)
    if scheme == "unix":
        label = f"unix://{merged.get('path', '')}"
    else:
        host = str(merged.get("host", "localhost"))
        host = f"[{host}]" if ":" in host else host
        label = f"{scheme}://{host}:{port or merged.get('port', 6379)}"
    if merged.get("username"):
        label = label.replace("://", f"://{merged['username']}@", 1)
    return Target(scrub(label, secrets), scheme, merged, secrets)


def target_of_client(client: Any) -> Target:
    """The same for a client that exists already."""
    kwargs: Mapping[str, Any] = client.connection_pool.connection_kwargs
    if kwargs.get("db") or 0:
        raise InvalidConfigurationError(
            f"this client uses database {kwargs['db']}: Redis searches database 0 only; "
            "give each store its own key_prefix instead"
        )
    secrets = tuple(str(kwargs[name]) for name in _SECRET_OPTIONS if kwargs.get(name))
    if "server" in kwargs:
        label = "embedded"
    elif kwargs.get("path"):
        label = f"unix://{kwargs['path']}"
    else:
        label = f"redis://{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"
    return Target(label, "client", kwargs, secrets)


def scrub(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret replaced: servers and drivers may quote what they were sent."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text


def _secrets(url: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Every spelling of a password that `url` or `options` may hold."""
    found = {str(options[name]) for name in _SECRET_OPTIONS if options.get(name)}
    # Taken from the text by hand: it must work for a URL that does not parse, too.
    rest = url.partition("://")[2]
    login, at, _ = rest.rpartition("@")
    if at:
        found.add(login.partition(":")[2])
    query = url.partition("?")[2]
    for name in _SECRET_OPTIONS:
        found.update(parse_qs(query).get(name, ()))
    found |= {unquote(secret) for secret in found}
    return tuple(sorted(secret for secret in found if secret))
