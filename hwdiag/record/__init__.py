"""The Record of what was found, and its store."""
