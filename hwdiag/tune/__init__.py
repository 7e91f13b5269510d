"""What is the fastest way to run it?"""
