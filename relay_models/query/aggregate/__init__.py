"""Aggregates: groups, metrics and time buckets."""
