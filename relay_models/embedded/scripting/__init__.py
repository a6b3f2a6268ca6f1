"""Lua in the engine: the sandbox that scripts and functions run in, and the commands that run them."""
