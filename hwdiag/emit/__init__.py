"""How is it changed and undone? Scripts, rendered from the objects that were measured."""
