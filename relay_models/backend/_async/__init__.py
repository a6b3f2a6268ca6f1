"""The backend's I/O, written once in async; `relay_models.backend._sync` is generated from it."""
