"""Which hosts of a fleet differ from their kind, became slower, or drifted, the worst first."""
