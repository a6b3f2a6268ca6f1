"""Record the runs of this process's agents directly from NeMo Relay's events."""

from __future__ import annotations

from relay_models.recorder.plugin import PLUGIN_KIND, RecorderPlugin, component, register_plugin
from relay_models.recorder.recorder import Recorder, record_runs
from relay_models.recorder.run_queue import RecorderStats
from relay_models.recorder.threaded_recorder import ThreadedRecorder, record_runs_in_thread
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
