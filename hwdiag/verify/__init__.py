"""Is this host still what its record says? Facts and a few speeds against the record, one verdict, under 15 seconds."""
