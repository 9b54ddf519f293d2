"""Networks and training phases to export, with inputs and weights that two machines draw identically."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from custom_ops.gpu.program_set import Argument
from sg3tf import Discriminator, build_generator
from sg3tf.models.presets import discriminator_preset, generator_preset
from trainer import losses
from trainer.inputs import DiscriminatorInputs, FakeInputs, Latents, PathLengthInputs, RealInputs, View
from trainer.step import summed_gradients

WS_SCALE = 0.5  # of style vectors, about as from a mapping network


@dataclasses.dataclass(frozen=True)
class Network:
    """A generator and its discriminator.

    Attributes:
        preset: configuration of the generator.
        resolution: pixels.
        batch: images per call.
        dtype: dtype policy.
        sizes: channel_base, channel_max.
        latent: width of z and w.
    """

    preset: str
    resolution: int
    batch: int
    dtype: str = "float32"
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    latent: int = 512

    @property
    def phases(self) -> tuple[str, ...]:
        """Synthesis, and the phases of training."""
        return ("forward", "G", "PL", "D", "R1") if self.preset == "stylegan2" else ("forward", "G", "D", "R1")


_SMALL: dict[str, Any] = {"sizes": {"channel_base": 512, "channel_max": 16}, "latent": 32}
_LARGE: dict[str, Any] = {"dtype": "mixed_float16"}

NETWORKS = {
    "t32": Network("stylegan3-t", 32, 2, **_SMALL),
    "r32": Network("stylegan3-r", 32, 2, **_SMALL),
    "sg2_32": Network("stylegan2", 32, 2, **_SMALL),
    "t256": Network("stylegan3-t", 256, 8, **_LARGE),
    "r256": Network("stylegan3-r", 256, 8, **_LARGE),
    "t1024": Network("stylegan3-t", 1024, 4, sizes={"channel_base": 32768}, **_LARGE),
}


class State:
    """The part of a training state that losses read.

    Args:
        network: sizes.
    """

    def __init__(self, network: Network) -> None:
        keras.utils.set_random_seed(0)
        size: dict[str, Any] = {"resolution": network.resolution, **network.sizes}
        config = generator_preset(network.preset, **size, z_dim=network.latent, w_dim=network.latent)
        self.G = build_generator(config, dtype=network.dtype)
        self.D = Discriminator(discriminator_preset(network.preset, **size), dtype=network.dtype)
        self.augment = self.lecam_means = None
        self.regularization = losses.Regularization(gamma=1.0, pl_weight=2.0)
        self.pl_mean = tf.Variable(0.1, trainable=False)

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything that a phase may read."""
        return [*(v.value for v in [*self.G.variables, *self.D.variables]), self.pl_mean]


def phase_function(state: State, phase: str) -> Callable[[Any], Any]:
    """Return the function of a phase. It returns images for "forward", else gradients and metrics."""
    if phase == "forward":
        return lambda ws: state.G.synthesis(ws)
    loss_function, network = losses.phases("logistic")[phase]
    model = state.G if network == "G" else state.D
    return lambda inputs: summed_gradients(loss_function, state, inputs, model.trainable_variables)


def phase_inputs(network: Network, state: State, phase: str) -> Any:
    """Return inputs for the function of a phase; their first axis is the batch."""
    count = network.batch // 2 if phase == "PL" else network.batch
    label = np.zeros([count, 0], np.float32)
    if phase == "forward":
        return _normal(1, [count, state.G.num_ws, network.latent]) * np.float32(WS_SCALE)
    noise = None
    if network.preset == "stylegan2":
        noise = np.arange(2 * count, dtype=np.int32).reshape(count, 2)
    latents = Latents(_normal(2, [count, network.latent]), label, noise=noise)
    if phase == "PL":
        return PathLengthInputs(latents, directions=np.arange(2 * count, dtype=np.int32).reshape(count, 2))
    fake = FakeInputs(latents, View())
    if phase == "G":
        return fake
    side = network.resolution
    real = RealInputs(pixels((count, side, side, 3)).value({}), label, View())
    return real if phase == "R1" else DiscriminatorInputs(real, fake)


def pixels(shape: tuple[int, ...]) -> Argument:
    """Real images, uint8."""
    return Argument(shape=shape, seed=3)


def _normal(seed: int, shape: list[int]) -> NDArray[np.float32]:
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
