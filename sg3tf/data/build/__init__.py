"""Build TFRecord data sets from image collections."""
