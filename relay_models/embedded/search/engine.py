"""`SearchEngine`: runs FT.* commands on the indexes of a catalog."""

from __future__ import annotations

from typing import Any

from relay_models.embedded.search.arguments import Arguments
from relay_models.embedded.search.catalog import Catalog
from relay_models.embedded.search.commands import SEARCH_COMMANDS
from relay_models.embedded.search.errors import SearchError, UnsupportedError

__all__ = ["SearchEngine", "SearchError"]


class SearchEngine(Catalog):
    """The FT.* commands over one SQLite connection."""

    def execute(self, name: str, args: list[bytes], protocol: int) -> Any:
        """Run one command.

        Args:
            name: The command, ``FT.SEARCH`` for example.
            args: Its arguments.
            protocol: The version of RESP in whose shape the reply is.

        Raises:
            SearchError: The command is refused; `UnsupportedError` where only the real server has it.
        """
        declared = SEARCH_COMMANDS.get(name)
        if declared is None or declared.run is None:
            raise UnsupportedError(f"{name} is")
        if len(args) < declared.least or (declared.most is not None and len(args) > declared.most):
            raise SearchError(f"wrong number of arguments for '{name}' command")
        self.drop_unused()
        # Fields that FT.ALTER added are filled after the next command, as the real server does it in the background.
        late = [index for index in self.indexes if index.spec.filling]
        try:
            return declared.run(self, Arguments(args), protocol)
        finally:
            for index in late:
                if index.spec.filling and self.is_current(index):
                    self.fill(index)
