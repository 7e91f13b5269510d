"""The input pipeline: storage, decoders and the DataLoader."""
