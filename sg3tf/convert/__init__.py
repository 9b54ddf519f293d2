"""Conversion between this project's networks and other checkpoint formats."""
