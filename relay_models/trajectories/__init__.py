"""Runs as files: NeMo Relay's events (ATOF), trajectories (ATIF) and OpenTelemetry spans, in and out."""

from relay_models.trajectories.atif import runs_from_atif, to_atif
from relay_models.trajectories.builder import AgentNaming, RunBuilder, ScopeEvent
from relay_models.trajectories.follow import FileFollower
from relay_models.trajectories.importing import BadLine, FileImport
from relay_models.trajectories.otlp import Convention, from_protobuf, to_otlp, to_protobuf
from relay_models.trajectories.reader import RunReader, read_runs, recognize_source
from relay_models.trajectories.recognize import Format, ReadResult, recognize

__all__ = [
    "AgentNaming",
    "BadLine",
    "Convention",
    "FileFollower",
    "FileImport",
    "Format",
    "ReadResult",
    "RunBuilder",
    "RunReader",
    "ScopeEvent",
    "from_protobuf",
    "read_runs",
    "recognize",
    "recognize_source",
    "runs_from_atif",
    "to_atif",
    "to_otlp",
    "to_protobuf",
]
