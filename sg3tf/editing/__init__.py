"""Editing: image projection, pivotal tuning, latent directions."""
