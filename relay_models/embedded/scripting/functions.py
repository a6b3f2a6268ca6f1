"""`Functions`: the libraries of FUNCTION LOAD, whose code runs in the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakeredis import _msgs as msgs
from fakeredis._helpers import SimpleError
from fakeredis.commands_mixins._lua_functions import (
    FUNCTION_FLAGS,
    FunctionLibrary,
    FunctionsEngine,
    LuaFunction,
    parse_library_metadata,
)

from relay_models.embedded.scripting.sandbox import Sandbox, ScriptStopped

if TYPE_CHECKING:
    from relay_models.embedded.scripting.commands import Scripting

__all__ = ["Functions"]


class Functions(FunctionsEngine):
    """What fakeredis' FUNCTION commands work on, without fakeredis' interpreter."""

    def __init__(self, scripting: Scripting) -> None:
        self.libraries: dict[bytes, FunctionLibrary] = {}
        self._server_type = "redis"
        self._scripting = scripting

    def library_of(self, name: bytes) -> tuple[bytes, LuaFunction] | None:
        """A function, and under which name its library's code was loaded; None where there is none of this name.

        Upper and lower case are the same.
        """
        wanted = name.lower()
        for library in self.libraries.values():
            for known, function in library.functions.items():
                if known.lower() == wanted:
                    return library.code, function
        return None

    def delete(self, name: bytes) -> None:
        library = self.libraries.get(name)
        super().delete(name)
        if library is not None:
            self._scripting.sandbox.unload(library.code)

    def reload(self, sandbox: Sandbox) -> None:
        """Load the libraries into a new interpreter."""
        for library in self.libraries.values():
            sandbox.load(library.code, parse_library_metadata(library.code)[1])

    def _create_library(self, name: bytes, code: bytes, body: bytes) -> FunctionLibrary:
        try:
            with self._scripting.running(None) as sandbox:
                outcome = sandbox.load(code, body)
        except ScriptStopped as stopped:
            raise SimpleError(msgs.FUNCTION_REGISTER_ERROR_MSG.format(stopped)) from None
        if outcome.source == "compile":
            raise SimpleError(msgs.FUNCTION_COMPILE_ERROR_MSG.format(outcome.error))
        if outcome.error is not None:
            raise SimpleError(msgs.FUNCTION_REGISTER_ERROR_MSG.format(outcome.error))
        found: list[tuple[bytes, bytes | None, list[Any]]] = outcome.value
        if not found:
            self._scripting.sandbox.unload(code)
            raise SimpleError(msgs.FUNCTION_NO_FUNCTIONS_MSG)
        functions = {
            function: LuaFunction(function, None, description, [flag for flag in FUNCTION_FLAGS if flag in flags])
            for function, description, flags in found
        }
        return FunctionLibrary(name=name, code=code, functions=functions)
