"""What does it do? Launches, workloads, children that measure, statistics and search."""
