"""Official parameter names and array layouts: load arrays into models, and export them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from sg3tf.models.discriminator import Discriminator
from sg3tf.models.generators import Generator
from sg3tf.models.layers import EqualizedConv2D, EqualizedDense, FourierInput, MappingNetwork, resample_taps
from sg3tf.models.stylegan1 import StyleGAN1Generator
from sg3tf.models.stylegan2 import StyleConv, StyleGAN2Generator, ToRGB
from sg3tf.models.stylegan3 import StyleGAN3Generator, SynthesisLayer
from sg3tf.utils.resolution import longer_side

if TYPE_CHECKING:
    import keras

    from sg3tf.models.stylegan1 import AdaINConv


Array = NDArray[Any]


class Layout(NamedTuple):
    """Conversion of an array from the official memory layout to this project's, and back.

    Examples:
        >>> dense = Layout(from_official=np.transpose, to_official=np.transpose)
        >>> dense.from_official(np.zeros([8, 512])).shape
        (512, 8)
    """

    from_official: Callable[[Array], Array]
    to_official: Callable[[Array], Array]


SAME = Layout(np.asarray, np.asarray)
#: Official name, model variable, and conversion between them.
Parameter: TypeAlias = "tuple[str, keras.Variable, Layout]"


# --- Original StyleGAN, TensorFlow 1 ----------------------------------------------------------------------------------

# Kernels are [height, width, in, out] and dense layers [in, out], as here. Three things differ. The gain of leaky ReLUs
# is part of the official weights; here, the mapping's activation has the gain, so its biases are divided by it. From
# 128 pixels on, upsampling convolutions are single transposed convolutions, and their kernels are rotated by 180
# degrees. Progressively grown networks have ToRGB layers for every resolution, and only the last one is used.

FUSED_FROM = 128  # pixels

_CONST = Layout(lambda value: np.transpose(value[0], (1, 2, 0)), lambda value: np.transpose(value, (2, 0, 1))[None])
_NOISE = Layout(lambda value: value[0, 0], lambda value: value[None, None])
_ROTATED = Layout(lambda value: value[::-1, ::-1], lambda value: value[::-1, ::-1])
_GAIN = np.float32(2**0.5)  # of the leaky ReLU
_BIAS = Layout(lambda value: value / _GAIN, lambda value: value * _GAIN)


def drop_unused(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Drop the arrays that a fully grown network no longer uses."""
    return {name: value for name, value in arrays.items() if name.split("/")[-1] != "lod" and not _is_earlier(name)}


def _is_earlier(name: str) -> bool:
    return "ToRGB_lod" in name and "ToRGB_lod0/" not in name


def _stylegan1_parameters(model: StyleGAN1Generator) -> Iterator[Parameter]:
    """Yield (name, variable, layout) of every parameter."""
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
        is_rotated = conv.up == 2 and conv.resolution >= FUSED_FROM
        yield f"{name}/weight", conv.kernel, _ROTATED if is_rotated else SAME
    yield f"{name}/bias", conv.bias, SAME
    yield f"{name}/Noise/weight", conv.noise_strength, SAME
    yield from _weight_and_bias(f"{name}/StyleMod", conv.affine)


def _weight_and_bias(name: str, layer: keras.layers.Layer) -> Iterator[Parameter]:
    yield f"{name}/weight", layer.kernel, SAME
    yield f"{name}/bias", layer.bias, SAME


# --- PyTorch names ----------------------------------------------------------------------------------------------------

# The official layout is [out, in, height, width] for convolutions and [out, in] for dense layers. Its resampling
# filters are constants determined by the geometry; if given, they are compared with the model's.


def _transposed(*axes: int) -> Layout:
    """Layout in which axis i is the official axis axes[i]."""
    return Layout(lambda value: np.transpose(value, axes), lambda value: np.transpose(value, np.argsort(axes)))


def _flat(positions: int) -> Layout:
    """Layout [positions * C, out], officially [out, C * positions], for D's flattened last feature map."""

    def from_official(value: Array) -> Array:
        return np.transpose(value.reshape(value.shape[0], -1, positions), (2, 1, 0)).reshape(-1, value.shape[0])

    def to_official(value: Array) -> Array:
        return np.transpose(value.reshape(positions, -1, value.shape[1]), (2, 1, 0)).reshape(value.shape[1], -1)

    return Layout(from_official, to_official)


_DENSE = _transposed(1, 0)
_KERNEL = _transposed(2, 3, 1, 0)  # from [out, in, height, width]
_CONST_LAYOUT = _transposed(1, 2, 0)  # from [channels, height, width]

FILTER_TOLERANCE = 1e-6  # official filters are rounded to float32, or to the 16 bits of the whole network
SEPARABLE_TAPS = 8  # from this length on, StyleGAN2 stores only one axis of a filter


class ParameterMismatchError(ValueError):
    """Arrays do not match the model; the message lists every mismatch by name."""


def load_arrays(model: Generator | Discriminator, arrays: Mapping[str, Array]) -> None:
    """Copy official parameters into a model of the same architecture, after checking all of them.

    Args:
        model: any generator, or a discriminator.
        arrays: {official parameter name: array}, for example "synthesis.L0_36_512.affine.weight".

    Raises:
        ParameterMismatchError: names are unknown or missing, or shapes do not match; the message lists all of them.
        TypeError: `model` is neither a generator nor a discriminator.
    """
    parameters = list(_parameters(model))
    constants = dict(_constants(model, arrays))
    known = {name for name, _, _ in parameters}
    problems = [f"{name}: unknown" for name in sorted(set(arrays) - known - set(constants))]
    values = []
    for name, variable, layout in parameters:
        if name not in arrays:
            problems.append(f"{name}: missing")
            continue
        value = _converted(np.asarray(arrays[name], np.float32), layout.from_official)
        if value is None or value.shape != tuple(variable.shape):
            problems.append(f"{name}: shape {np.shape(arrays[name])} does not fit {tuple(variable.shape)}")
        values.append((variable, value))
    problems += _differing(constants, arrays)
    if problems:
        raise ParameterMismatchError(
            f"{len(problems)} of the given arrays do not fit {type(model).__name__}; "
            "create the model with the configuration that they were trained with:\n  " + "\n  ".join(problems)
        )
    for variable, value in values:
        variable.assign(value)


def to_arrays(model: Generator | Discriminator) -> dict[str, Array]:
    """Return a model's {official parameter name: array}, for `load_arrays`, without the constant filters.

    Raises:
        TypeError: `model` is neither a generator nor a discriminator.
    """
    return {name: layout.to_official(variable.numpy()) for name, variable, layout in _parameters(model)}


def _converted(value: Array, convert: Callable[[Array], Array]) -> Array | None:
    try:
        return convert(value)
    except (ValueError, IndexError):  # wrong number of dimensions
        return None


def _differing(constants: dict[str, Array], arrays: Mapping[str, Array]) -> list[str]:
    return [
        f"{name}: differs from the filter that this geometry implies"
        for name, taps in constants.items()
        if name in arrays and not _is_rounded(np.asarray(arrays[name]), taps)
    ]


def _is_rounded(stored: Array, taps: Array) -> bool:
    """Return True if `stored` is `taps` rounded to its dtype."""
    if stored.shape != taps.shape:
        return False
    precision = float(ml_dtypes.finfo(stored.dtype).eps) if stored.dtype.itemsize == 2 else 0.0
    return bool(np.all(np.abs(np.float64(stored) - taps) <= FILTER_TOLERANCE + precision * np.abs(taps)))


def _parameters(model: Generator | Discriminator) -> Iterator[Parameter]:
    if isinstance(model, StyleGAN1Generator):
        yield from _stylegan1_parameters(model)
    elif isinstance(model, StyleGAN2Generator):
        yield from _mapping(model.mapping_network)
        yield from _stylegan2_synthesis(model)
    elif isinstance(model, StyleGAN3Generator):
        yield from _mapping(model.mapping_network)
        yield from _fourier_input(model.fourier_input)
        for layer in model.synthesis_layers:
            yield from _synthesis_layer(layer)
    elif isinstance(model, Discriminator):
        yield from _discriminator(model)
    else:
        raise TypeError(f"model is a {type(model).__name__}: give a Generator or a Discriminator")


def _discriminator(model: Discriminator) -> Iterator[Parameter]:
    yield from _conv(f"b{longer_side(model.config.resolution)}.fromrgb", model.fromrgb)
    for block in model.blocks:
        for layer in filter(None, (block.conv0, block.conv1, block.skip)):
            yield from _conv(f"{block.name}.{layer.name}", layer)
    for layer in model.skip_fromrgbs:
        yield from _conv(layer.name, layer)
    last = f"b{model.last_size.longer}"
    yield from _conv(f"{last}.conv", model.conv)
    yield from _dense(f"{last}.fc", model.fc, _flat(model.last_size.pixels))
    yield from _dense(f"{last}.out", model.out)
    if model.mapping_network is not None:
        yield from _mapping(model.mapping_network)


def _constants(model: Generator | Discriminator, names: Iterable[str]) -> Iterator[tuple[str, Array]]:
    """Yield (name, value) of the filters that `names` may contain; StyleGAN2 stores the same filter in every layer."""
    if isinstance(model, StyleGAN1Generator):
        return
    if isinstance(model, Discriminator | StyleGAN2Generator):
        taps = resample_taps(model.config.resample_filter)
        smoothing = np.outer(taps, taps) if len(taps) < SEPARABLE_TAPS else taps
        yield from ((name, smoothing) for name in names if name.endswith(".resample_filter"))
        return
    for layer in model.synthesis_layers:
        for name in ("up_filter", "down_filter"):
            if getattr(layer, name) is not None:
                yield f"synthesis.{layer.plan.name}.{name}", getattr(layer, name)


def _mapping(layer: MappingNetwork) -> Iterator[Parameter]:
    if layer.w_avg is not None:
        yield "mapping.w_avg", layer.w_avg, SAME
    if layer.embed is not None:
        yield from _dense("mapping.embed", layer.embed)
    for dense in layer.dense:
        yield from _dense(f"mapping.{dense.name}", dense)


def _fourier_input(layer: FourierInput) -> Iterator[Parameter]:
    yield "synthesis.input.weight", layer.kernel, _DENSE
    for name in ("freqs", "phases", "transform"):
        yield f"synthesis.input.{name}", getattr(layer, name), SAME
    if layer.transformed:
        yield from _dense("synthesis.input.affine", layer.affine)


def _synthesis_layer(layer: SynthesisLayer) -> Iterator[Parameter]:
    prefix = f"synthesis.{layer.plan.name}"
    yield f"{prefix}.weight", layer.kernel, _KERNEL
    yield f"{prefix}.bias", layer.bias, SAME
    yield f"{prefix}.magnitude_ema", layer.magnitude_ema, SAME
    yield from _dense(f"{prefix}.affine", layer.affine)


def _stylegan2_synthesis(model: StyleGAN2Generator) -> Iterator[Parameter]:
    if model.config.fourier_input:
        yield from _fourier_input(model.fourier_input)
    else:
        yield f"synthesis.b{max(model.const.shape[:2])}.const", model.const, _CONST_LAYOUT
    for conv in model.convs:
        yield from _styled(conv)
        if conv.noise:
            yield f"synthesis.{conv.name}.noise_strength", conv.noise_strength, SAME
            yield f"synthesis.{conv.name}.noise_const", conv.noise_const, SAME
    for torgb in model.torgbs:
        yield from _styled(torgb)
    for skip in model.skips:
        yield from _conv(f"synthesis.{skip.name}", skip)


def _styled(layer: StyleConv | ToRGB) -> Iterator[Parameter]:
    yield from _conv(f"synthesis.{layer.name}", layer)
    yield from _dense(f"synthesis.{layer.name}.affine", layer.affine)


def _conv(prefix: str, layer: EqualizedConv2D | StyleConv | ToRGB) -> Iterator[Parameter]:
    yield f"{prefix}.weight", layer.kernel, _KERNEL
    if layer.bias is not None:
        yield f"{prefix}.bias", layer.bias, SAME


def _dense(prefix: str, layer: EqualizedDense, layout: Layout = _DENSE) -> Iterator[Parameter]:
    yield f"{prefix}.weight", layer.kernel, layout
    yield f"{prefix}.bias", layer.bias, SAME
