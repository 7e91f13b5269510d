"""What should change? Rules that turn evidence into findings, checks and recommendations."""
