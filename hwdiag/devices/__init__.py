"""CPU against GPU: what is each precision and technique worth here?"""
