"""ATIF: runs from and to agent trajectories, one JSON document per run."""

from relay_models.trajectories.atif.reading import runs_from_atif
from relay_models.trajectories.atif.writing import ATIF_VERSION, to_atif

__all__ = ["ATIF_VERSION", "runs_from_atif", "to_atif"]
