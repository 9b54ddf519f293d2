"""Options for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sg3tf.data.dataset import open_dataset
from trainer.config import Options

#: Where the defaults depend on the configuration or the device: one value for all.
COMMON: dict[str, Any] = {
    **{"glr": 0.0025, "map_depth": 2, "style_mixing": 0.0, "pl_weight": 0.0},
    **{"precision": "fp32", "aug": "noaug", "metrics": ()},
}

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
    **COMMON,
)

#: Networks that cost next to nothing.
SIZE = {"cbase": 128, "cmax": 8}


def options(data: str | Path, **overrides: Any) -> Options:
    """Options of a run that costs next to nothing on the data set in the folder `data`: batch 8 in one piece."""
    dataset = open_dataset(data, use_labels=overrides.get("cond", False))
    values: dict[str, Any] = {"batch": 8, "gamma": 2.0, **COMMON, **SIZE, **overrides}
    return Options.for_dataset(dataset, data=str(data), **values)
