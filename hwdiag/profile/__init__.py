"""What bounds a script of the person's own, by torch.profiler?"""
