"""What runs in the target interpreter: started by path, never imported by hwdiag itself."""
