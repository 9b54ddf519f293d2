"""Editing: projection of images, pivotal tuning, directions in latent space."""
