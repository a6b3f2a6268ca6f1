"""Tables of runs and calls: data frames, Arrow, and files."""
