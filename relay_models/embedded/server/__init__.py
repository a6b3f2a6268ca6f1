"""The server around the engine: its state, its connections, the protocol and TCP."""
