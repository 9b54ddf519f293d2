"""Conversion of other people's checkpoints."""
