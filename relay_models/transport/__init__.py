"""Connections to a server: URLs, retries, error mapping, and the commands sent and received."""
