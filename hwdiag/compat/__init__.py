"""Compatibility: the packages that run here, and the instruction that kills one that dies."""
