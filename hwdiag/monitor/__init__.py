"""What does the machine do meanwhile?"""
