"""Under a name of its own, so that workers that are spawned find it again and nobody else's package is hidden."""
