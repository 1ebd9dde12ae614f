"""Searches for the best config in a space of them: trials are runs, which any number of processes train together."""
