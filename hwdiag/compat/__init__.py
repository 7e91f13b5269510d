"""Will my stack run, and if it dies, what kills it? Imports each native package in a child and explains its end."""
