"""Image data sets: reading, sampling, building, verifying."""
