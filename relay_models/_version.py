"""The version of relay_models."""

__version__ = "0.1.0"
