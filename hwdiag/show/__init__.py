"""How does a person see it? Figures, tables, widgets and the report, all drawn from data and nothing else."""
