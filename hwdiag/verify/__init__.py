"""Verification: facts and a few speeds of this host against its record, one verdict, in 15 seconds at most."""
