"""A fleet: hosts that differ from their kind, became slower or drifted, the worst first."""
