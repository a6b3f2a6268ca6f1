"""The filter language: text to expressions."""
