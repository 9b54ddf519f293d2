"""Image data sets: reading, sampling, building, verifying."""

from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.errors import DataError
from sg3tf.data.sampler import batches

__all__ = ["DataError", "Dataset", "batches", "open_dataset"]
