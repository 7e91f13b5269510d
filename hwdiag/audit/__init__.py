"""How is this host set, and what of that helps or harms?"""
