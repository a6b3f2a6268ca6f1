"""FT.AGGREGATE: the pipeline, its stages, reducers, expressions and cursors."""
