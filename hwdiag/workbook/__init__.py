"""What all notebooks share: their parameters, and what their cells say."""
