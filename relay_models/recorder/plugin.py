"""`RecorderPlugin`: the recorder as a component of a NeMo Relay plugin configuration."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from relay_models._checks import shown
from relay_models.documents.model_modules import load_models
from relay_models.errors import InvalidConfigurationError, MissingExtraError, RelayModelsError
from relay_models.recorder.threaded_recorder import ThreadedRecorder
from relay_models.records.redact import as_redactor

__all__ = ["PLUGIN_KIND", "RecorderPlugin", "component", "register_plugin"]

PLUGIN_KIND = "relay_models.recorder"

_FIELDS: dict[str, tuple[type, ...]] = {
    "url": (str,),
    "path": (str,),
    "key_prefix": (str,),
    "models": (list,),
    "agent_id": (str,),
    "max_waiting": (int,),
    "flush_timeout": (int, float),
    "keep_io": (bool,),
    "redact": (list,),
    "max_text_length": (int,),
    "max_call_bytes": (int,),
}


class RecorderPlugin:
    """Stores the runs of all agents of this process, in the store with this `url` (or `path`) and `key_prefix`.

    A thread opens the store when the first run has ended, so a Redis that is down does not block the application.
    `agent_id` is the agent of all runs; without it, the name of a run's Agent scope. `models` is a list of the modules
    that declare columns of your own; without it, those that the environment or pyproject.toml names, as for the command
    line. `redact` is a list of JSON paths; `keep_io`, `max_text_length` and `max_call_bytes` are those of
    `record_runs`.
    """

    def validate(self, plugin_config: dict[str, Any]) -> list[Any]:
        """Return the problems of a configuration, in NeMo Relay's format."""
        wrong: list[Any] = []

        def say(level: str, code: str, field: str, message: str) -> None:
            wrong.append({"level": level, "code": code, "component": PLUGIN_KIND, "field": field, "message": message})

        if not isinstance(plugin_config, Mapping):
            say("error", "relay_models.type", "", f"the configuration is a dict of options, not {shown(plugin_config)}")
            return wrong
        if ("url" in plugin_config) == ("path" in plugin_config):
            say("error", "relay_models.store", "url", "set either url or path, to name the store to write to")
        for name, value in plugin_config.items():
            if name not in _FIELDS:
                known = ", ".join(_FIELDS)
                say("warning", "relay_models.unknown_field", name, f"unknown option {name!r}; the options are {known}")
            elif not isinstance(value, _FIELDS[name]) or (isinstance(value, bool) and bool not in _FIELDS[name]):
                say("error", "relay_models.type", name, f"{name} must be {_FIELDS[name][-1].__name__}")
        if not wrong:
            try:
                as_redactor(
                    **{name: plugin_config.get(name) for name in ("redact", "max_text_length", "max_call_bytes")}
                )
            except RelayModelsError as error:
                say("error", "relay_models.redact", "redact", str(error))
        if not wrong:
            try:
                _models(plugin_config)
            except RelayModelsError as error:
                say("error", "relay_models.models", "models", str(error))
        if not wrong and "url" in plugin_config:
            from relay_models.transport import parse_target  # lazy: validating a path needs no redis-py

            try:
                parse_target(plugin_config["url"])
            except RelayModelsError as error:
                say("error", "relay_models.url", "url", str(error))
        return wrong

    def register(self, plugin_config: dict[str, Any], context: Any) -> None:
        """Subscribe to the events of the runtime that is being configured.

        Raises:
            InvalidConfigurationError: The configuration has errors.
        """
        errors = [each["message"] for each in self.validate(plugin_config) if each["level"] == "error"]
        if errors:
            raise InvalidConfigurationError("; ".join(errors))
        config = {name: value for name, value in plugin_config.items() if name in _FIELDS}
        url, path = config.pop("url", None), config.pop("path", None)
        prefix, models = config.pop("key_prefix", "nemo_relay:"), _models(config)
        config.pop("models", None)

        def connect() -> Any:
            from relay_models.sync import RedisBackend  # lazy: start-up time

            if url is not None:
                return RedisBackend.connect(url, prefix, models=models)
            return RedisBackend.embedded(path, prefix, models=models)

        recorder = ThreadedRecorder(connect, config.pop("agent_id", None), **config)
        take = recorder.subscriber

        def subscriber(event: Any) -> None:
            take(event)

        recorder.start(subscribe=False)
        # The runtime does not notify a plugin when it shuts down, but drops its subscriber.
        weakref.finalize(subscriber, recorder.close, flush=False).atexit = False
        context.register_subscriber("recorder", subscriber)


def _models(config: Mapping[str, Any]) -> list[Any]:
    """The document classes of the user's own.

    Raises:
        InvalidConfigurationError: A module cannot be imported, or has no model.
    """
    names = config.get("models")
    if names is not None and not all(isinstance(name, str) for name in names):
        raise InvalidConfigurationError(f"models is a list of the names of modules, not {shown(names)}")
    return list(load_models(None if names is None else ",".join(names)))


def register_plugin() -> None:
    """Register the component with NeMo Relay as `PLUGIN_KIND`. Registering it again does nothing.

    Raises:
        MissingExtraError: nemo_relay is not installed.
    """
    try:
        from nemo_relay import plugin  # lazy: optional package
    except ImportError as error:
        raise MissingExtraError("recording needs NeMo Relay: pip install nemo-relay") from error
    if PLUGIN_KIND not in plugin.list_kinds():
        plugin.register(PLUGIN_KIND, RecorderPlugin())


def component(**config: Any) -> Any:
    """Create a component that records runs, for ``nemo_relay.plugin.PluginConfig(components=[…])``.

    Args:
        config: `url` or `path`, `key_prefix`, `models`, `agent_id`, `max_waiting`, `flush_timeout`, `keep_io`,
            `redact`, `max_text_length`, `max_call_bytes`; see `RecorderPlugin`.

    Returns:
        A `nemo_relay.plugin.ComponentSpec`.

    Raises:
        MissingExtraError: nemo_relay is not installed.
    """
    register_plugin()
    from nemo_relay import plugin  # lazy: optional package

    return plugin.ComponentSpec(PLUGIN_KIND, config=config)
