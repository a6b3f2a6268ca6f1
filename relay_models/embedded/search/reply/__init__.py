"""What search commands answer: results, highlighting, FT.INFO, FT.EXPLAIN, FT.PROFILE."""
