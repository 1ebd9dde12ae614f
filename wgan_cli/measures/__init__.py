"""Measures of generated samples without a critic: classes, features, modes, and the nearest training samples."""
