"""What an index holds: its schema, how documents become rows, and the tables of those rows."""
