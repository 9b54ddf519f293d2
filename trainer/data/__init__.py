"""Training data: TFRecord sets of images, read by random access without TensorFlow."""

from trainer.data.dataset import Dataset, open_dataset
from trainer.data.errors import DataError
from trainer.data.sampler import batches

__all__ = ["DataError", "Dataset", "batches", "open_dataset"]
