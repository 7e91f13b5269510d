"""Parts that all notebooks share: their parameters, and the values of their cells."""
