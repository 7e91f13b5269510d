"""Search for the fastest way to run a program."""
