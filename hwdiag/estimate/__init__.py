"""What would another machine do?"""
