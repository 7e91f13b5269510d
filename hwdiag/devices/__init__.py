"""CPU against GPU: the worth of each precision and technique on this host."""
