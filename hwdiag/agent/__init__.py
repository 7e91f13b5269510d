"""What runs inside the person's interpreter: the standard library and torch, run by path."""
