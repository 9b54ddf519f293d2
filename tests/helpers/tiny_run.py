"""Options for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sg3tf.data.dataset import open_dataset
from trainer.config import Options

#: Of no data set that exists.
PLAIN = Options(
    cfg="stylegan3-t",
    data="/data/faces",
    data_name="faces",
    data_digest="sha256:0",
    resolution=16,
    image_channels=3,
    num_images=64,
    label_dim=0,
    batch=32,
    gamma=2.0,
    batch_per_replica=16,
)

#: Networks that cost next to nothing.
SIZE = {"cbase": 128, "cmax": 8}


def options(data: str | Path, **overrides: Any) -> Options:
    """Options of a run that costs next to nothing on the data set in the folder `data`: batch 8 in one piece."""
    dataset = open_dataset(data, use_labels=overrides.get("cond", False))
    values: dict[str, Any] = {"cfg": "stylegan3-t", "batch": 8, "gamma": 2.0, **SIZE, **overrides}
    return Options(
        data=str(data),
        data_name=dataset.name,
        data_digest=dataset.digest,
        resolution=dataset.resolution,
        image_channels=dataset.channels,
        num_images=len(dataset),
        label_dim=dataset.label_dim,
        **{"batch_per_replica": values["batch"], **values},
    )
