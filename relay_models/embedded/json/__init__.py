"""JSON documents: their text and value, paths, and the JSON.* commands."""
