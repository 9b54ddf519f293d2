"""Training: python -m trainer.main."""
