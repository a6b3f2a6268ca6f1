"""Target: where a store is. Parses URLs, labels them for messages, and knows which parts are secret."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from redis.connection import parse_url

from relay_models.errors import InvalidConfigurationError

__all__ = ["Address", "Target", "parse_target", "scrub", "target_of_client"]

SCHEMES = ("redis", "rediss", "unix")
SEVERAL_SERVERS = ("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_SECRET_OPTIONS = ("password", "ssl_password", "sentinel_password")
_DEFAULT_PORTS = {"sentinel": 26379, "cluster": 6379}

Address = tuple[str, int]


@dataclass(frozen=True)
class Target:
    """Where a store is.

    Attributes:
        label: its address without a password, for messages.
        scheme: of the URL; "embedded" or "client" where there is none.
        options: what redis-py needs to connect; not shown in the repr.
        secrets: what no message may hold; not shown in the repr.
        servers: the sentinels, or the cluster's nodes to begin with; empty for a single server.
        service: the name that the sentinels have for the primary.
        sentinel_options: what redis-py needs to connect to the sentinels; not shown in the repr.
    """

    label: str
    scheme: str
    options: Mapping[str, Any] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False, default=())
    servers: tuple[Address, ...] = ()
    service: str = ""
    sentinel_options: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @classmethod
    def embedded(cls, path: str | os.PathLike[str] | None) -> Target:
        """Return the target of an embedded engine, in a file or (None) in memory."""
        return cls(f"embedded:{'memory' if path is None else os.fspath(path)}", "embedded", {})


def parse_target(url: str, options: Mapping[str, Any] | None = None, *, any_database: bool = False) -> Target:
    """Parse the URL of a store.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``unix://`` (the path of a socket),
            ``redis+sentinel://host:26379,host:26379/service`` or ``redis+cluster://host:6379,host:6379``, the last two
            with TLS as ``rediss+sentinel://`` and ``rediss+cluster://``.
        options: redis-py's options, which win over those in the URL.
        any_database: whether databases other than 0, which have no search, are allowed; the label then names it.

    Returns:
        Where it is; the password is in `Target.options` and `Target.secrets` only.

    Raises:
        InvalidConfigurationError: the URL cannot work. Neither its message nor its context holds a password.
    """
    if not isinstance(url, str):
        raise InvalidConfigurationError(f"the URL of a store is text, not {type(url).__name__}")
    options = dict(options or {})
    secrets = _secrets(url, options)
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme in SEVERAL_SERVERS:
        return _parse_several(url, options, secrets)
    if scheme not in SCHEMES:
        raise InvalidConfigurationError(
            "the URL of a store begins with redis://, rediss:// (TLS), unix:// (a socket's path), redis+sentinel:// or "
            "redis+cluster://; "
            "RedisBackend.embedded(path) needs no server and no URL"
        )
    split = _split(url)
    if split is None:
        # Not raised where the parser fails: its error quotes a part of the URL, and would be attached as __context__.
        raise InvalidConfigurationError(
            f"the {scheme}:// URL cannot be read: it is "
            + (
                "unix://[user:password@]/path/of/socket"
                if scheme == "unix"
                else f"{scheme}://[user:password@]host[:port]"
            )
            + ", where '/', '?', '#', '@', ':', '[', ']' and '%' in a user name or a password are written as "
            "%2F, %3F, %23, %40, %3A, %5B, %5D and %25"
        )
    parts, parsed = split
    merged = {**parsed, **options}
    database = _database(merged, any_database, "the URL (or an option) names")
    merged.pop("connection_class", None)
    if scheme == "unix":
        label = f"unix://{merged.get('path', '')}"
    else:
        host = str(merged.get("host", "localhost"))
        host = f"[{host}]" if ":" in host else host
        label = f"{scheme}://{host}:{parts.port or merged.get('port', 6379)}"
    if merged.get("username"):
        label = label.replace("://", f"://{merged['username']}@", 1)
    if any_database:
        merged["db"] = database
        label += f"/{database}"
    else:
        merged.pop("db", None)
    return Target(scrub(label, secrets), scheme, merged, secrets)


def _parse_several(url: str, options: Mapping[str, Any], secrets: tuple[str, ...]) -> Target:
    """Parse a URL that names sentinels or nodes of a cluster."""
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    form = f"{scheme}://[user:password@]host[:port],host[:port]" + ("/service" if kind == "sentinel" else "")
    refusal = InvalidConfigurationError(
        f"the {scheme}:// URL cannot be read: it is {form}, where '/', '?', '#', '@', ':', ',', '[', ']' and '%' in a "
        "user name or a password are written as %2F, %3F, %23, %40, %3A, %2C, %5B, %5D and %25"
    )
    end = min((rest.index(sign) for sign in "/?#" if sign in rest), default=len(rest))
    login, at, hosts = rest[:end].rpartition("@")
    path, mark, query = rest[end:].partition("?")
    service = unquote(path.strip("/"))
    if "@" in path + query or not hosts or (kind == "sentinel") != bool(service) or "/" in service:
        raise refusal
    found = []
    for host in hosts.split(","):
        try:
            found.append(parse_target(f"{base}://{login}{at}{host}{mark}{query}", options))
        except InvalidConfigurationError as error:
            refusal = error if "database" in str(error) else refusal
            break
    if len(found) < len(hosts.split(",")) or any(not each for each in hosts.split(",")):
        raise refusal
    servers = tuple(
        (str(each.options.get("host", "localhost")), int(each.options.get("port", _DEFAULT_PORTS[kind])))
        for each in found
    )
    settings = {name: value for name, value in found[0].options.items() if name not in ("host", "port")}
    sentinel = {
        name: settings.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in settings
    }
    user = f"{settings['username']}@" if settings.get("username") else ""
    label = f"{scheme}://{user}{','.join(map(_host_and_port, servers))}" + (f"/{service}" if service else "")
    if kind == "sentinel":
        # Timeouts, TLS and the like hold for sentinels, too; the login does not.
        shared = {name: value for name, value in settings.items() if name not in ("username", "password", "db")}
        sentinel = {**shared, **sentinel}
    return Target(scrub(label, secrets), scheme, settings, secrets, servers, service, sentinel)


def _host_and_port(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def target_of_client(client: Any, *, any_database: bool = False) -> Target:
    """Return the target of a redis-py client.

    Args:
        client: the client.
        any_database: whether databases other than 0 are allowed; the label then names it.

    Raises:
        InvalidConfigurationError: it uses a database that is not allowed.
    """
    kwargs: Mapping[str, Any] = client.connection_pool.connection_kwargs
    database = _database(kwargs, any_database, "this client uses")
    secrets = tuple(str(kwargs[name]) for name in _SECRET_OPTIONS if kwargs.get(name))
    if "server" in kwargs:
        label = "embedded"
    elif kwargs.get("path"):
        label = f"unix://{kwargs['path']}"
    else:
        label = f"redis://{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"
    return Target(f"{label}/{database}" if any_database else label, "client", kwargs, secrets)


def _split(url: str) -> tuple[SplitResult, dict[str, Any]] | None:
    """Parse a URL, or return None if it is malformed or a password in it is not escaped."""
    if any(character < " " for character in url):  # urlsplit leaves some of them out, also inside a password
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises where it is no number)
        parsed: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        return None
    if parts.scheme == "unix":
        # There is no host: only a login, which ends with an @, may stand before the path.
        is_whole = not parts.netloc or parts.netloc.endswith("@")
    else:
        # An @ after the host means that this "host" is the beginning of a login with an unescaped /, ? or #.
        is_whole = "@" not in parts.path + parts.query + parts.fragment
    return (parts, parsed) if is_whole else None


def _database(options: Mapping[str, Any], any_database: bool, who: str) -> int:
    """Return the number of the database, and refuse those that cannot be used."""
    given = str(options.get("db") or 0)
    if not given.isdecimal():
        raise InvalidConfigurationError(f"{who} a database that is not a number")
    database = int(given)
    if database and not any_database:
        raise InvalidConfigurationError(
            f"{who} database {database} but Redis searches database 0 only; give each store its own key_prefix instead"
        )
    return database


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in a text: servers and drivers may quote what they were sent."""
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text


def _secrets(url: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every spelling of the passwords in a URL and in options."""
    found = {str(options[name]) for name in _SECRET_OPTIONS if options.get(name)}
    # Read from the text itself, because a URL that does not parse has secrets, too.
    rest = url.partition("://")[2]
    login, at, _ = rest.rpartition("@")
    if at:
        found.add(login.partition(":")[2])
    query = url.partition("?")[2]
    for name in _SECRET_OPTIONS:
        found.update(parse_qs(query).get(name, ()))
    found |= {unquote(secret) for secret in found}
    return tuple(sorted(secret for secret in found if secret))
