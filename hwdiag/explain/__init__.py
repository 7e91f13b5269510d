"""What is wrong with my program on this host?"""
