"""The models of ATIF that others publish, by which the documents that are written are checked."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import Any

from tests.servers.wheels import unpacked

__all__ = ["check_atif", "harbor_trajectory"]

# Needs Python 3.12 as a whole; its models do not.
_HARBOR = "harbor==0.26.0"


def check_atif(document: dict[str, Any]) -> None:
    """Check a document by NVIDIA's models, which have no release for Python 3.14 yet."""
    if sys.version_info < (3, 14):
        from nat.atif import Trajectory

        Trajectory.model_validate(document)


@functools.cache
def harbor_trajectory() -> Any:
    """Harbor's model of a trajectory, unpacked from its wheel; None where that cannot be downloaded."""
    try:
        sys.path.insert(0, str(unpacked(_HARBOR, python="3.12")))
    except subprocess.CalledProcessError:
        return None
    try:
        from harbor.models.trajectories import Trajectory as HarborTrajectory
    finally:
        del sys.path[0]
    return HarborTrajectory
