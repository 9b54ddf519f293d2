"""Directions in the space of w along which images change in one way: from labels, from samples, from weights."""
