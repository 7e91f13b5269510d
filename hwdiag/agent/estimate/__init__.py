"""What runs inside a child that has torch: counts and times nets. The package itself never imports torch."""
