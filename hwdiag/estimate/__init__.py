"""What could it do? Ceilings; later, machines that one does not own."""
