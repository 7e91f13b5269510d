"""Explanation of what is wrong with a program on this host."""
