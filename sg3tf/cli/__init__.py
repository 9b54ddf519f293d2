"""The console script `sg3tf` and its commands."""
