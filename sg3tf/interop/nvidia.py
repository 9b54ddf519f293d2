"""Arrays under the official parameter names, copied into our models.

The official layout is [out, in, height, width] for convolutions and [out, in] for dense layers. Its resampling
filters are constants that follow from the geometry; where they are given, they are only compared with ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from sg3tf.discriminator import LAST_RESOLUTION, Discriminator
from sg3tf.generator import Generator
from sg3tf.layers import Conv, Dense, FourierInput, SynthesisLayer
from sg3tf.layers import Mapping as MappingNetwork
from sg3tf.layers.conv import RESAMPLE_TAPS
from sg3tf.layers.style_conv import StyleConv
from sg3tf.layers.to_rgb import ToRGB
from sg3tf.stylegan2 import StyleGAN2Generator

Array = NDArray[Any]
Parameter = tuple[str, keras.Variable, Callable[[Array], Array]]
FILTER_TOLERANCE = 1e-6  # ours are float64, theirs are rounded to float32


class InteropError(ValueError):
    """Arrays that do not fit the model; the message lists every name that is wrong, and why."""


def load_arrays(model: Generator | Discriminator, arrays: Mapping[str, Array]) -> None:
    """Copies official parameters into a model of the same architecture: all of them, or none.

    Args:
        model: a Generator (a StyleGAN2Generator too) or a Discriminator.
        arrays: {official parameter name: array}, for example "synthesis.L0_36_512.affine.weight".

    Raises:
        InteropError: listing every unknown, missing or misshapen name.
    """
    parameters = list(_parameters(model))
    constants = dict(_constants(model))
    known = {name for name, _, _ in parameters}
    problems = [f"{name}: unknown" for name in sorted(set(arrays) - known - set(constants))]
    values = []
    for name, variable, convert in parameters:
        if name not in arrays:
            problems.append(f"{name}: missing")
            continue
        value = _converted(np.asarray(arrays[name]), convert)
        if value is None or value.shape != tuple(variable.shape):
            problems.append(f"{name}: shape {np.shape(arrays[name])} does not fit {tuple(variable.shape)}")
        values.append((variable, value))
    problems += _differing(constants, arrays)
    if problems:
        raise InteropError(
            f"{len(problems)} of the given arrays do not fit {type(model).__name__}; "
            "create the model with the configuration that they were trained with:\n  " + "\n  ".join(problems)
        )
    for variable, value in values:
        variable.assign(value)


def _converted(value: Array, convert: Callable[[Array], Array]) -> Array | None:
    try:
        return convert(value)
    except (ValueError, IndexError):  # wrong number of dimensions
        return None


def _differing(constants: dict[str, Array], arrays: Mapping[str, Array]) -> list[str]:
    return [
        f"{name}: differs from the filter that this geometry implies"
        for name, ours in constants.items()
        if name in arrays
        and (np.shape(arrays[name]) != ours.shape or np.abs(arrays[name] - ours).max() > FILTER_TOLERANCE)
    ]


def _parameters(model: Generator | Discriminator) -> Iterator[Parameter]:
    if isinstance(model, StyleGAN2Generator):
        yield from _mapping(model.mapping_network)
        yield from _stylegan2_synthesis(model)
    elif isinstance(model, Generator):
        yield from _mapping(model.mapping_network)
        yield from _fourier_input(model.fourier_input)
        for layer in model.synthesis_layers:
            yield from _synthesis_layer(layer)
    elif isinstance(model, Discriminator):
        yield from _discriminator(model)
    else:
        raise TypeError(f"model is a {type(model).__name__}: give a Generator or a Discriminator")


def _discriminator(model: Discriminator) -> Iterator[Parameter]:
    yield from _conv(f"b{model.config.resolution}.fromrgb", model.fromrgb)
    for block in model.blocks:
        for layer in (block.conv0, block.conv1, block.skip):
            yield from _conv(f"{block.name}.{layer.name}", layer)
    yield from _conv("b4.conv", model.conv)
    yield from _dense("b4.fc", model.fc, _flat_nchw_to_nhwc)
    yield from _dense("b4.out", model.out)
    if model.mapping_network is not None:
        yield from _mapping(model.mapping_network)


def _constants(model: Generator | Discriminator) -> Iterator[tuple[str, Array]]:
    smoothing = np.outer(RESAMPLE_TAPS, RESAMPLE_TAPS)
    if isinstance(model, StyleGAN2Generator):
        blocks = {conv.name.split(".")[0] for conv in model.convs}
        for name in (*blocks, *(conv.name for conv in model.convs)):
            yield f"synthesis.{name}.resample_filter", smoothing
    elif isinstance(model, Generator):
        for layer in model.synthesis_layers:
            for name in ("up_filter", "down_filter"):
                if getattr(layer, name) is not None:
                    yield f"synthesis.{layer.plan.name}.{name}", getattr(layer, name)
    else:
        for block in model.blocks:
            for layer in (block.conv0, block.conv1, block.skip):
                yield f"{block.name}.{layer.name}.resample_filter", smoothing


def _mapping(layer: MappingNetwork) -> Iterator[Parameter]:
    if layer.w_avg is not None:
        yield "mapping.w_avg", layer.w_avg, np.asarray
    if layer.embed is not None:
        yield from _dense("mapping.embed", layer.embed)
    for dense in layer.dense:
        yield from _dense(f"mapping.{dense.name}", dense)


def _fourier_input(layer: FourierInput) -> Iterator[Parameter]:
    yield "synthesis.input.weight", layer.kernel, np.transpose
    for name in ("freqs", "phases", "transform"):
        yield f"synthesis.input.{name}", getattr(layer, name), np.asarray
    yield from _dense("synthesis.input.affine", layer.affine)


def _synthesis_layer(layer: SynthesisLayer) -> Iterator[Parameter]:
    prefix = f"synthesis.{layer.plan.name}"
    yield f"{prefix}.weight", layer.kernel, _oihw_to_hwio
    yield f"{prefix}.bias", layer.bias, np.asarray
    yield f"{prefix}.magnitude_ema", layer.magnitude_ema, np.asarray
    yield from _dense(f"{prefix}.affine", layer.affine)


def _stylegan2_synthesis(model: StyleGAN2Generator) -> Iterator[Parameter]:
    yield "synthesis.b4.const", model.const, _chw_to_hwc
    for conv in model.convs:
        yield from _styled(conv)
        for name in ("noise_strength", "noise_const"):
            yield f"synthesis.{conv.name}.{name}", getattr(conv, name), np.asarray
    for torgb in model.torgbs:
        yield from _styled(torgb)


def _styled(layer: StyleConv | ToRGB) -> Iterator[Parameter]:
    yield from _conv(f"synthesis.{layer.name}", layer)
    yield from _dense(f"synthesis.{layer.name}.affine", layer.affine)


def _conv(prefix: str, layer: Conv | StyleConv | ToRGB) -> Iterator[Parameter]:
    yield f"{prefix}.weight", layer.kernel, _oihw_to_hwio
    if layer.bias is not None:
        yield f"{prefix}.bias", layer.bias, np.asarray


def _dense(prefix: str, layer: Dense, convert: Callable[[Array], Array] = np.transpose) -> Iterator[Parameter]:
    yield f"{prefix}.weight", layer.kernel, convert
    yield f"{prefix}.bias", layer.bias, np.asarray


def _oihw_to_hwio(value: Array) -> Array:
    return np.transpose(value, (2, 3, 1, 0))


def _chw_to_hwc(value: Array) -> Array:
    return np.transpose(value, (1, 2, 0))


def _flat_nchw_to_nhwc(value: Array) -> Array:
    """[out, C * H * W] to [H * W * C, out]: the discriminator flattens its last feature map."""
    side = LAST_RESOLUTION
    return np.transpose(value.reshape(value.shape[0], -1, side, side), (2, 3, 1, 0)).reshape(-1, value.shape[0])
