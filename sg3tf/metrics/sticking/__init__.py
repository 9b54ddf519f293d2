"""Whether details stick to pixel coordinates: python -m sg3tf.metrics.sticking."""
