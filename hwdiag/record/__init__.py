"""What was found? The Record and its store."""
