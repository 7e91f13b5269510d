"""Will my stack run, and if it dies, what kills it?"""
