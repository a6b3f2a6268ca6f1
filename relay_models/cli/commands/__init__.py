"""The commands, one module for each of them or for each group."""
