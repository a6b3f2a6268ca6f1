"""The checks for implementations of `StorageBackend` pass for ours, and fail for one that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from relay_models import RedisBackend, StorageBackend
from relay_models.testing import STORAGE_CHECKS, check_storage_backend


@pytest.mark.parametrize("check", STORAGE_CHECKS)
async def test_our_backend_passes(check: str) -> None:
    async with await RedisBackend.embedded() as backend:
        assert isinstance(backend, StorageBackend)
        await check_storage_backend(backend, check)


class Wrong:
    """A backend that does one thing in another way."""

    def __init__(self, backend: RedisBackend, name: str, instead: Any) -> None:
        self._backend = backend
        setattr(self, name, instead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


async def true(*arguments: Any) -> bool:
    return True


async def none(*arguments: Any) -> None:
    return None


async def nothing(*arguments: Any) -> list[Any]:
    return []


@pytest.mark.parametrize(
    ("check", "name", "instead"),
    [
        ("runs without loss", "load_run", none),
        ("runs in order", "latest_run", none),
        ("deleting runs", "delete_run", true),
        ("agents apart", "agents", nothing),
        ("artifacts", "delete_trie", true),
    ],
)
async def test_a_wrong_backend_fails(check: str, name: str, instead: Any) -> None:
    async with await RedisBackend.embedded() as backend:
        wrong: Any = Wrong(backend, name, instead)
        with pytest.raises(AssertionError):
            await check_storage_backend(wrong, check)
