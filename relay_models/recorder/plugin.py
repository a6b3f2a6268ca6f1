"""The recorder as a NeMo Relay plugin component, for those who configure the runtime by components."""

from __future__ import annotations

import weakref
from typing import Any

from relay_models.errors import InvalidConfigurationError, MissingExtraError, RelayModelsError
from relay_models.recorder.threaded import ThreadedRecorder

__all__ = ["PLUGIN_KIND", "RecorderPlugin", "component", "register_plugin"]

PLUGIN_KIND = "relay_models.recorder"

_FIELDS: dict[str, tuple[type, ...]] = {
    "url": (str,),
    "path": (str,),
    "key_prefix": (str,),
    "agent_id": (str,),
    "max_waiting": (int,),
    "flush_timeout": (int, float),
}


class RecorderPlugin:
    """Stores the runs of all agents of this process; configured with the store's `url` (or `path`) and `key_prefix`.

    The store is opened by a thread when the first run has ended, so a Redis that is away does not hold up the
    application. `agent_id` is the agent of all runs; without it the name of a run's Agent scope is.
    """

    def validate(self, plugin_config: dict[str, Any]) -> list[Any]:
        """What is wrong with a configuration, as NeMo Relay wants to hear it."""
        wrong: list[Any] = []

        def say(level: str, code: str, field: str, message: str) -> None:
            wrong.append({"level": level, "code": code, "component": PLUGIN_KIND, "field": field, "message": message})

        if ("url" in plugin_config) == ("path" in plugin_config):
            say("error", "relay_models.store", "url", "say either url or path: which store to write to")
        for name, value in plugin_config.items():
            if name not in _FIELDS:
                known = ", ".join(_FIELDS)
                say("warning", "relay_models.unknown_field", name, f"there is no option {name!r}; there are {known}")
            elif not isinstance(value, _FIELDS[name]) or isinstance(value, bool):
                say("error", "relay_models.type", name, f"{name} is to be {_FIELDS[name][-1].__name__}")
        if not wrong and "url" in plugin_config:
            from relay_models.transport import parse_target  # lazy: validating a path needs no redis-py

            try:
                parse_target(plugin_config["url"])
            except RelayModelsError as error:
                say("error", "relay_models.url", "url", str(error))
        return wrong

    def register(self, plugin_config: dict[str, Any], context: Any) -> None:
        """Subscribe to the events of the runtime that is being configured."""
        errors = [each["message"] for each in self.validate(plugin_config) if each["level"] == "error"]
        if errors:
            raise InvalidConfigurationError("; ".join(errors))
        config = {name: value for name, value in plugin_config.items() if name in _FIELDS}
        url, path = config.pop("url", None), config.pop("path", None)
        prefix = config.pop("key_prefix", "nemo_relay:")

        def connect() -> Any:
            from relay_models.sync import RedisBackend

            return RedisBackend.connect(url, prefix) if url is not None else RedisBackend.embedded(path, prefix)

        recorder = ThreadedRecorder(connect, config.pop("agent_id", None), **config)
        take = recorder.subscriber

        def subscriber(event: Any) -> None:
            take(event)

        recorder.start(subscribe=False)
        # The runtime tells a plugin nothing when it is shut down, but lets go of its subscriber.
        weakref.finalize(subscriber, recorder.close).atexit = False
        context.register_subscriber("recorder", subscriber)


def register_plugin() -> None:
    """Make the component known to NeMo Relay, under `PLUGIN_KIND`; doing it again does nothing.

    Raises:
        MissingExtraError: nemo_relay is not installed.
    """
    try:
        from nemo_relay import plugin
    except ImportError as error:
        raise MissingExtraError("recording needs NeMo Relay: pip install nemo-relay") from error
    if PLUGIN_KIND not in plugin.list_kinds():
        plugin.register(PLUGIN_KIND, RecorderPlugin())


def component(**config: Any) -> Any:
    """A component for ``nemo_relay.plugin.PluginConfig(components=[…])`` that records into a store.

    Args:
        config: `url` or `path`, `key_prefix`, `agent_id`, `max_waiting`, `flush_timeout`; see `RecorderPlugin`.
    """
    register_plugin()
    from nemo_relay import plugin

    return plugin.ComponentSpec(PLUGIN_KIND, config=config)
