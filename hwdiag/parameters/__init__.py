"""Each topic's parameters, declared once: options, variables, profiles, cells, tables."""
