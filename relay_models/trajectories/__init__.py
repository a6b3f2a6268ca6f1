"""Runs as files: NeMo Relay's events, trajectories (ATIF) and OpenTelemetry spans, in and out."""
