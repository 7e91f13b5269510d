"""Monitor of the machine while a program runs."""
