"""The data file: storage, redo log, keys read on demand, and copies as text."""
