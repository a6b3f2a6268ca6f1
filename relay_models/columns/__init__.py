"""What documents can be asked by: columns, the expressions made of them, and how values are stored."""
