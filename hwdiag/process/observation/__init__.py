"""Observing a person's program: from outside by /proc, and from inside its Python processes."""
