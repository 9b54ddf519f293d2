"""Names and layouts that the first StyleGAN's code for TensorFlow 1 had for the parameters of its generator.

Kernels are [height, width, in, out] and dense layers [in, out], as here. Three things differ: the gain of leaky ReLUs
is part of the weights there, so that biases of the mapping, which has ours, are divided by it; from 128 pixels on,
where an upsampling convolution was one operation, it spreads its kernel instead of sliding it, which turns it by 180
degrees; and networks that grew have colours for every resolution, of which the last are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.interop.layouts import SAME, Layout, Parameter

if TYPE_CHECKING:  # who only reads files needs no Keras
    import keras

    from sg3tf.layers.adain_conv import AdaINConv
    from sg3tf.stylegan1 import StyleGAN1Generator

Array = NDArray[Any]

FUSED_FROM = 128  # pixels

_CONST = Layout(lambda value: np.transpose(value[0], (1, 2, 0)), lambda value: np.transpose(value, (2, 0, 1))[None])
_NOISE = Layout(lambda value: value[0, 0], lambda value: value[None, None])
_TURNED = Layout(lambda value: value[::-1, ::-1], lambda value: value[::-1, ::-1])
_GAIN = np.float32(2**0.5)  # of the leaky ReLU
_BIAS = Layout(lambda value: value / _GAIN, lambda value: value * _GAIN)


def used(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays without those that a network no longer uses when it has grown."""
    return {name: value for name, value in arrays.items() if name.split("/")[-1] != "lod" and not _is_earlier(name)}


def _is_earlier(name: str) -> bool:
    return "ToRGB_lod" in name and "ToRGB_lod0/" not in name


def parameters(model: StyleGAN1Generator) -> Iterator[Parameter]:
    """(name, variable, layout) of every parameter."""
    yield "dlatent_avg", model.mapping_network.w_avg, SAME
    for index, dense in enumerate(model.mapping_network.dense):
        yield f"mapping/Dense{index}/weight", dense.kernel, SAME
        yield f"mapping/Dense{index}/bias", dense.bias, _BIAS
    yield "synthesis/4x4/Const/const", model.const, _CONST
    for index, conv in enumerate(model.convs):
        yield f"synthesis/noise{index}", conv.noise_const, _NOISE
        yield from _layer(f"synthesis/{_name(conv)}", conv)
    yield from _weight_and_bias("synthesis/ToRGB_lod0", model.torgb)


def _name(conv: AdaINConv) -> str:
    side = conv.resolution
    first = side == 4
    return f"{side}x{side}/" + {0: "Const", 1: "Conv" if first else "Conv1", 2: "Conv0_up"}[conv.up]


def _layer(name: str, conv: AdaINConv) -> Iterator[Parameter]:
    if conv.up:
        is_turned = conv.up == 2 and conv.resolution >= FUSED_FROM
        yield f"{name}/weight", conv.kernel, _TURNED if is_turned else SAME
    yield f"{name}/bias", conv.bias, SAME
    yield f"{name}/Noise/weight", conv.noise_strength, SAME
    yield from _weight_and_bias(f"{name}/StyleMod", conv.affine)


def _weight_and_bias(name: str, layer: keras.layers.Layer) -> Iterator[Parameter]:
    yield f"{name}/weight", layer.kernel, SAME
    yield f"{name}/bias", layer.bias, SAME
