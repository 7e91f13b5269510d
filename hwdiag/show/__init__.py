"""How does a person see it? Figures, tables and the report, all drawn from a Record and nothing else."""
