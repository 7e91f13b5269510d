"""What is each device, precision and technique worth here? Beside ``estimate``: uses ``measure``'s blocks and turns."""
