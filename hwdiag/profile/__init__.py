"""Profile of a person's own script, by torch.profiler: what bounds it."""
