"""A network of an official pickle, as far as it means anything here: a configuration and its arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.config import DiscriminatorConfig, GeneratorConfig, StyleGAN1Config, StyleGAN2Config
from sg3tf.layer_plan import plan_synthesis

Config = GeneratorConfig | StyleGAN2Config | StyleGAN1Config | DiscriminatorConfig

NETWORKS = ("G", "D", "G_ema")  # in the order in which files of TensorFlow 1 have them

_LEAST_BYTES = 2  # of a parameter: float16
_MAX_NODES, _MAX_DEPTH = 10_000, 10  # of options, which are some dozens of numbers
_MAX_TEXT, _MAX_WHOLE = 10_000, 2**63


class SnapshotError(ValueError):
    """A network that cannot be had here; the message, one line, names the option, its value and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # names come from the file


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that was stored.

    Attributes:
        origin: which code stored it.
        class_name: what the file calls its class or function.
        options: the constructor's arguments, as the file has them.
        config: what they mean here.
        arrays: {official PyTorch parameter name: array}.
        training_set_options: the data set's constructor arguments, if the file says them.
    """

    origin: str
    class_name: str
    options: Mapping[str, Any]
    config: Config
    arrays: Mapping[str, NDArray[Any]]
    training_set_options: Any = None

    def check(self, file_size: int) -> None:
        """Refuses a configuration for which the file is too small, before a model of that size is made.

        Raises:
            SnapshotError: naming both; or an array of a type that float32 cannot hold.
        """
        for name, array in self.arrays.items():
            if not np.can_cast(array.dtype, np.float32):
                raise SnapshotError(f"{name} is {array.dtype}, which float32 cannot hold exactly")
        needed = num_kernel_parameters(self.config)
        if needed * _LEAST_BYTES > file_size:
            raise SnapshotError(f"its options describe {needed:,} parameters, more than {file_size:,} bytes can hold")


def plain(value: Any) -> Any:
    """A copy of `value` that JSON can hold.

    Raises:
        SnapshotError: it has something else in it, or is too large or deep for options.
    """
    return _plain(value, [_MAX_NODES], _MAX_DEPTH)


def _plain(value: Any, left: list[int], depth: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth < 0:
        raise SnapshotError("its options are too many or too deep to be those of a network")
    if value is None or isinstance(value, float):
        return value
    if (isinstance(value, str) and len(value) < _MAX_TEXT) or (isinstance(value, int) and abs(value) < _MAX_WHOLE):
        return value
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, left, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, left, depth - 1) for item in value]
    raise SnapshotError(f"its options have a {type(value).__name__} among them, not numbers and text")


def num_kernel_parameters(config: Config) -> int:
    """Most of a network's size: without biases, running statistics and constants."""
    if isinstance(config, DiscriminatorConfig):
        return _discriminator(config)
    features = config.z_dim + (config.w_dim if config.label_dim else 0)
    mapping = config.w_dim * (config.label_dim + features + (config.mapping_layers - 1) * config.w_dim)
    if isinstance(config, StyleGAN2Config):
        return mapping + _skip_synthesis(config)
    if isinstance(config, StyleGAN1Config):
        return mapping + _first_synthesis(config)
    plan = plan_synthesis(config)
    layers = sum(p.in_channels * (p.kernel**2 * p.out_channels + config.w_dim) for p in plan.layers)
    return mapping + plan.input.channels**2 + layers


def _skip_synthesis(config: StyleGAN2Config) -> int:
    pairs = [(config.channels(r // 2), config.channels(r)) for r in _doublings(config.resolution)]
    blocks = sum(9 * after * (before + after) + config.w_dim * (before + 2 * after) for before, after in pairs)
    return 9 * config.channels(4) ** 2 + blocks


def _first_synthesis(config: StyleGAN1Config) -> int:
    pairs = [(config.channels(r // 2), config.channels(r)) for r in _doublings(config.resolution)]
    blocks = sum(9 * after * (before + after) + 4 * config.w_dim * after for before, after in pairs)
    return config.channels(4) * (9 * config.channels(4) + 4 * config.w_dim) + blocks


def _discriminator(config: DiscriminatorConfig) -> int:
    pairs = [(config.channels(r), config.channels(r // 2)) for r in _doublings(config.resolution)]
    last = config.channels(4)
    mapping = last * (config.label_dim + config.mapping_layers * last) if config.label_dim else 0
    return mapping + 25 * last**2 + sum(9 * before * (before + after) for before, after in pairs)


def _doublings(resolution: int) -> list[int]:
    """8, 16, ..., resolution."""
    return [2**i for i in range(3, resolution.bit_length())]
