"""Search over an embedded keyspace: RediSearch's FT.* commands on tables in SQLite."""
