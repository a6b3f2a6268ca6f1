"""`Session`: one run of a command, its store and its output."""

from __future__ import annotations

import errno
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay_models._checks import check_text
from relay_models.cli.passwords import PasswordSource, has_password, warn_if_visible
from relay_models.errors import InvalidConfigurationError, NotFoundError

if TYPE_CHECKING:
    from relay_models.cli.output import Output
    from relay_models.documents import Document, Run
    from relay_models.errors import CorruptDocumentError
    from relay_models.sync import RedisBackend

__all__ = ["DEFAULT_PREFIX", "Session", "check_file"]

DEFAULT_PREFIX = "nemo_relay:"


class Session:
    """One run of a command: its store, which is opened on first use, and its output.

    Args:
        url: A Redis server.
        prefix: The key prefix.
        path: An embedded store.
        password_file: A file with the server's password.
        ask_password: Prompt for the server's password.
        as_json: Print JSON.
        models: Modules with document classes of the user's own.
    """

    def __init__(
        self,
        url: str | None,
        prefix: str | None,
        path: Path | None,
        password_file: Path | None,
        ask_password: bool,
        as_json: bool,
        models: str | None = None,
    ) -> None:
        self.as_json = as_json
        self._given = (url, prefix, path)
        self._models = models
        self._password = PasswordSource("RELAY_MODELS_PASSWORD", password_file, ask_password)
        self._backend: RedisBackend | None = None
        self.is_in_memory = False
        self.unreadable = 0
        """Documents that were left out because they cannot be read."""

    @functools.cached_property
    def out(self) -> Output:
        """The command's output."""
        from relay_models.cli.output import Output  # lazy: start-up time

        return Output(self.as_json)

    @functools.cached_property
    def models(self) -> list[type[Document]]:
        """The document classes of the user's own."""
        from relay_models.documents.model_modules import load_models  # lazy: start-up time

        return load_models(self._models)

    @property
    def models_hint(self) -> str:
        """What to add to a message about a name that only a user's models may have."""
        if self.models:
            return ""
        return (
            "no models of your own are loaded: name their modules by --models, RELAY_MODELS_MODELS, or models in "
            "[tool.relay-models] of pyproject.toml"
        )

    @property
    def run_document(self) -> type[Run]:
        """The class of runs, which has all of their columns."""
        from relay_models.documents import Run  # lazy: start-up time

        return next((model for model in self.models if issubclass(model, Run)), Run)

    @property
    def prefix(self) -> str:
        """The key prefix.

        Raises:
            InvalidConfigurationError: It is no text that a key can have.
        """
        given = self._given[1]
        prefix = os.environ.get("RELAY_MODELS_PREFIX", DEFAULT_PREFIX) if given is None else given
        check_text("--prefix", prefix)
        return prefix

    def where(self) -> tuple[str | None, Path | None]:
        """Return the URL or the path of the store; the command line takes precedence over the environment.

        Raises:
            InvalidConfigurationError: Neither is given, or both.
        """
        url, _, path = self._given
        url = url or None
        if url is None and path is None:
            url = os.environ.get("RELAY_MODELS_URL") or None
            path = Path(named) if (named := os.environ.get("RELAY_MODELS_PATH")) else None
        if url is not None and path is not None:
            raise InvalidConfigurationError(
                "give either --url or --path, not both (they may also come from RELAY_MODELS_URL and RELAY_MODELS_PATH)"
            )
        if url is None and path is None:
            raise InvalidConfigurationError(
                "no store given: use --path FILE (no server needed) or --url redis://HOST:PORT"
            )
        return url, path

    def redis_options(self, url: str) -> dict[str, Any]:
        """Return redis-py's options for the store's server: its password, where the URL does not hold it."""
        if self._given[0]:
            warn_if_visible(self.out, url, "--url", "--ask-password, --password-file or RELAY_MODELS_PASSWORD")
        if has_password(url) and not self._password.is_explicit:
            return {}
        password = self._password.read()
        return {} if password is None else {"password": password}

    def open(self, *, must_exist: bool = True, **options: Any) -> RedisBackend:
        """Open the store on the first call, and return it.

        Args:
            must_exist: Refuse a file that does not exist, for commands that only read.
            options: Options of `RedisBackend`.

        Raises:
            NotFoundError: The file does not exist.
            IsADirectoryError: The path is a directory.
        """
        if self._backend is None:
            from relay_models.sync import RedisBackend  # lazy: start-up time

            options = {"models": self.models, **options}
            url, path = self.where()
            if path is not None:
                check_file(path)
                if must_exist and not path.exists():
                    raise NotFoundError(
                        f"there is no store at {path}; `relay-models import CAPTURE --path {path}` creates one"
                    )
                self._backend = RedisBackend.embedded(path, self.prefix, **options)
            else:
                assert url is not None
                self._backend = RedisBackend.connect(url, self.prefix, **self.redis_options(url), **options)
        return self._backend

    @property
    def backend(self) -> RedisBackend:
        """The store, which must be open."""
        assert self._backend is not None
        return self._backend

    def memory(self) -> RedisBackend:
        """Open a store in memory, which is gone when the command ends."""
        from relay_models.sync import RedisBackend  # lazy: start-up time

        models: Any = self.models
        self._backend = RedisBackend.embedded(None, self.prefix, models=models)
        self.is_in_memory = True
        return self._backend

    def report_unreadable(self, corrupt: list[CorruptDocumentError]) -> None:
        """Warn about unreadable documents and clear the list; the command then ends with `INCOMPLETE`."""
        for error in corrupt:
            self.unreadable += 1
            self.out.warn(str(error))
        corrupt.clear()

    def close(self) -> None:
        """Close the store, if it was opened."""
        if self._backend is not None:
            self._backend.close()


def check_file(path: Path) -> None:
    """Refuse a directory where a store's file is expected."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
