"""What could it do? Ceilings; machines that one does not own: catalogue, counts, estimates, and a check of them."""
