"""Record the runs of agents in this process into a store, straight from NeMo Relay's events."""

from __future__ import annotations

from relay_models.recorder.asynchronous import Recorder, record_runs
from relay_models.recorder.core import RecorderStats
from relay_models.recorder.plugin import PLUGIN_KIND, RecorderPlugin, component, register_plugin
from relay_models.recorder.threaded import ThreadedRecorder, record_runs_in_thread
from relay_models.trajectories.builder import RunBuilder

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
