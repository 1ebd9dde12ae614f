"""Evaluation: generated samples against real ones, and distances between any two sets of samples."""
