"""`writing` and `reading`: a dump's file, by its name or open already."""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterator
from typing import IO, Any, cast

from relay_models._files import PRIVATE, check_name, open_output

__all__ = ["Target", "reading", "writing"]

Target = str | os.PathLike[str] | IO[bytes]


@contextlib.contextmanager
def writing(target: Target) -> Iterator[IO[bytes]]:
    """Open a dump for writing, as `open_output` does; a new file, which may hold prompts, is for its owner alone."""
    if not isinstance(target, (str, os.PathLike)):
        yield target
        return
    with open_output(target, mode=PRIVATE) as raw:
        if not os.fspath(target).endswith(".gz"):
            yield raw
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw) as packed:
            yield cast(IO[bytes], packed)


@contextlib.contextmanager
def reading(source: Target) -> Iterator[IO[bytes]]:
    """Open a dump for reading."""
    if not isinstance(source, (str, os.PathLike)):
        yield source
        return
    name = os.fspath(source)
    check_name(name)
    opened: Any = gzip.open(name, "rb") if name.endswith(".gz") else open(name, "rb")  # noqa: SIM115
    with opened as file:
        yield file
