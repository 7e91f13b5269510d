"""Does the data come fast enough? Storage, decoders and the DataLoader."""
