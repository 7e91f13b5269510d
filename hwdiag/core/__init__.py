"""Values, text, errors and parameters, which every package uses."""
