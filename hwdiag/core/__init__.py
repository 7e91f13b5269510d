"""What every package stands on: parameters."""
