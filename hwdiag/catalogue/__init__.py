"""The catalogue of parts: one YAML file a part, every value with its source."""
