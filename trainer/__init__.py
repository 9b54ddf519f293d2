"""Training: sg3tf train."""
