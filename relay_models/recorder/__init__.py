"""Record the runs of agents in this process into a store, straight from NeMo Relay's events."""

from __future__ import annotations

from .asynchronous import Recorder, record_runs
from .builder import RunBuilder
from .core import RecorderStats
from .plugin import PLUGIN_KIND, RecorderPlugin, component, register_plugin
from .threaded import ThreadedRecorder, record_runs_in_thread

__all__ = [
    "PLUGIN_KIND",
    "Recorder",
    "RecorderPlugin",
    "RecorderStats",
    "RunBuilder",
    "ThreadedRecorder",
    "component",
    "record_runs",
    "record_runs_in_thread",
    "register_plugin",
]
