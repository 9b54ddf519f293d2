"""StyleGAN2 networks in the widespread PyTorch state dicts with `g_ema`, `g`, `d` and `latent_avg`.

Such a file, from torch.save or as a plain pickle of NumPy arrays, has a dict of tensors for each network. Names such as
"convs.3.conv.weight" are translated to the official names. Encoders and editing methods store their generator in the
same way, as "decoder.convs.3.conv.weight" in a dict "state_dict". Weights have the official meaning and layout, except
that modulated convolutions have a leading axis of size 1, and nothing is clamped. The configuration is inferred from
the shapes, because the file contains nothing else.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sg3tf.convert.official_network import (
    NO_CLAMP,
    OfficialNetwork,
    UnsupportedNetworkError,
    doublings,
)
from sg3tf.models.configs import DiscriminatorConfig, StyleGAN2Config
from sg3tf.utils.resolution import Resolution, Size, longer_side, pyramid, size_of, to_resolution
from sg3tf.utils.safe_pickle import PickledArray

Array = NDArray[Any]

#: Keys in such a file, by the network's official name.
KEYS = {"G": "g", "D": "d", "G_ema": "g_ema"}

_DECODER = "decoder."
_FILTERS = (".blur.kernel", ".upsample.kernel", ".0.kernel")
_NOISE_SEED = 0


def is_state_dicts(data: Any) -> bool:
    """Return True for the content of such a file."""
    return isinstance(data, dict) and any(_is_tensors(part) for part in _parts(data).values())


def _is_tensors(part: Any) -> bool:
    return isinstance(part, dict) and bool(part) and all(isinstance(value, np.ndarray) for value in part.values())


def _parts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return {official name: tensors}."""
    parts = {name: _with_arrays(data[key]) for name, key in KEYS.items() if key in data}
    state = data.get("state_dict")
    if isinstance(state, dict):
        decoder = {
            key.removeprefix(_DECODER): _array(value)
            for key, value in state.items()
            if isinstance(key, str) and key.startswith(_DECODER)
        }
        if decoder:
            parts.setdefault("G_ema", decoder)
    return parts


def _with_arrays(part: Any) -> Any:
    return {key: _array(value) for key, value in part.items()} if isinstance(part, dict) else part


def _array(value: Any) -> Any:
    """Return the array of an object, which may be wrapped by a pickle of NumPy arrays."""
    return value.value if isinstance(value, PickledArray) else value


def to_network(data: Mapping[str, Any], name: str) -> OfficialNetwork:
    """Translate one network of a file that `is_state_dicts` accepts.

    Raises:
        UnsupportedNetworkError: the network is not in the file, or has unknown tensors.
    """
    parts = {name: part for name, part in _parts(data).items() if _is_tensors(part)}
    if name not in parts:
        raise UnsupportedNetworkError(f"{name} is not in the file: it has {', '.join(sorted(parts))}")
    tensors = {str(key): value for key, value in parts[name].items()}
    config: Any = _discriminator_config(tensors, parts) if name == "D" else _generator_config(tensors)
    names = _discriminator_names(config) if name == "D" else _generator_names(config)
    arrays = dict(_converted(tensors, dict(names)))
    if name != "D":
        arrays |= _average(_array(data.get("latent_avg")), config.w_dim)
        arrays = _missing_noise(config) | arrays
    class_name = "Discriminator" if name == "D" else "Generator"
    return OfficialNetwork("PyTorch", class_name, {"layout": "state dict"}, config, arrays)


# --- Writing ----------------------------------------------------------------------------------------------------------


def from_arrays(config: StyleGAN2Config | DiscriminatorConfig, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the tensors of a network in this layout, which has no clamp.

    Args:
        config: configuration of the network.
        arrays: {official name: array}, without filters; `mapping.w_avg` is left out.

    Raises:
        UnsupportedNetworkError: the layout cannot represent the network; the message names the cause and the remedy.
    """
    remedy = "write it with sg3tf convert to-npz, for the official code"
    is_generator = isinstance(config, StyleGAN2Config)
    if not is_generator and not isinstance(config, DiscriminatorConfig):
        raise UnsupportedNetworkError(
            f"a {type(config).__name__}: state dicts hold StyleGAN2's generator and discriminator; {remedy}"
        )
    plain = type(config)(**{name: getattr(config, name) for name in _SIZES if hasattr(config, name)})
    for name, value in dataclasses.asdict(plain).items():
        if name not in _NOT_STORED and getattr(config, name) != value:
            raise UnsupportedNetworkError(
                f"{name}={getattr(config, name)!r}: state dicts have only {value!r}; {remedy}"
            )
    names = _generator_names(config) if isinstance(config, StyleGAN2Config) else _discriminator_names(config)
    tensors = {name: _shape_there(name, official, arrays[official]) for name, official in names}
    return tensors | dict(_filters(config))


_SIZES = ("resolution", "image_channels", "z_dim", "w_dim", "channel_base", "channel_max")
_NOT_STORED = {"conv_clamp", "layer_clamps", "mbstd_group_size", "mapping_layers"}
_FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def _shape_there(name: str, official: str, array: Array) -> Array:
    if official.endswith("noise_strength"):
        return array.reshape(1)
    if official.endswith("noise_const"):
        return array[None, None]
    if official.endswith("torgb.bias"):
        return array.reshape(1, -1, 1, 1)
    return array[None] if official.endswith("const") or name.endswith(".conv.weight") else array


def _filters(config: StyleGAN2Config | DiscriminatorConfig) -> Iterator[tuple[str, Array]]:
    for index in range(len(doublings(config.resolution))):
        if isinstance(config, StyleGAN2Config):
            yield f"convs.{2 * index}.conv.blur.kernel", (4 * _FIR).astype(np.float32)
            yield f"to_rgbs.{index}.upsample.kernel", (4 * _FIR).astype(np.float32)
        else:
            yield f"convs.{index + 1}.conv2.0.kernel", _FIR.astype(np.float32)
            yield f"convs.{index + 1}.skip.0.kernel", _FIR.astype(np.float32)


# --- Names and sizes --------------------------------------------------------------------------------------------------


def _generator_config(tensors: Mapping[str, Array]) -> StyleGAN2Config:
    const, mapping = _shape(tensors, "input.input", 4), _shape(tensors, "style.1.weight", 2)
    count = sum(name.startswith("to_rgbs.") and name.endswith(".conv.weight") for name in tensors)
    last = _shape(tensors, f"convs.{2 * count - 1}.conv.weight", 5)
    resolution = _doubled(Size(const[3], const[2]), count)
    return StyleGAN2Config(
        resolution,
        image_channels=_shape(tensors, "to_rgb1.conv.weight", 5)[1],
        z_dim=mapping[1],
        w_dim=_shape(tensors, "conv1.conv.modulation.weight", 2)[1],
        mapping_layers=sum(name.startswith("style.") and name.endswith(".weight") for name in tensors),
        channel_base=last[1] * longer_side(resolution),
        channel_max=const[1],
        conv_clamp=NO_CLAMP,
    )


def _doubled(grid: Size, times: int) -> Resolution:
    """Return the resolution whose smallest grid, that of the constant input, is `grid`."""
    resolution = to_resolution([side * 2**times for side in grid])
    if pyramid(resolution)[0] != grid:
        raise UnsupportedNetworkError(
            f"input.input is {grid.width} x {grid.height} pixels: images of {size_of(resolution)} begin at "
            f"{pyramid(resolution)[0]} here"
        )
    return resolution


def _discriminator_config(tensors: Mapping[str, Array], parts: Mapping[str, Any]) -> DiscriminatorConfig:
    first, last = _shape(tensors, "convs.0.0.weight", 4), _shape(tensors, "final_conv.0.weight", 4)
    count = sum(name.endswith(".conv1.0.weight") for name in tensors)
    grid = _smallest_grid(parts)
    if _shape(tensors, "final_linear.0.weight", 2)[1] != last[0] * grid.pixels:
        raise UnsupportedNetworkError(
            f"the last grid of D is not {grid}; for images that are not square, give a file with their G or G_ema"
        )
    resolution = _doubled(grid, count)
    return DiscriminatorConfig(
        resolution,
        image_channels=first[1],
        channel_base=first[0] * longer_side(resolution),
        channel_max=last[0],
        mbstd_channels=last[1] - last[0],
        conv_clamp=NO_CLAMP,
    )


def _smallest_grid(parts: Mapping[str, Any]) -> Size:
    """Return the size of the constant input in G_ema or G, which D lacks; 4 x 4 if the file has only D."""
    constants = [parts[name].get("input.input") for name in ("G_ema", "G") if name in parts]
    for const in constants:
        if isinstance(const, np.ndarray) and const.ndim == 4:
            return Size(const.shape[3], const.shape[2])
    return Size(4, 4)


def _shape(tensors: Mapping[str, Array], name: str, dimensions: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != dimensions or 0 in tensors[name].shape:
        shape = tensors[name].shape if name in tensors else "missing"
        raise UnsupportedNetworkError(f"{name} is {shape}: not a StyleGAN2 network in this layout")
    return tensors[name].shape


def _generator_names(config: StyleGAN2Config) -> Iterator[tuple[str, str]]:
    """Yield (name in the file, official name)."""
    first = _first(config.resolution)
    yield "input.input", f"synthesis.{first}.const"
    for index in range(config.mapping_layers):
        for part in ("weight", "bias"):
            yield f"style.{index + 1}.{part}", f"mapping.fc{index}.{part}"
    yield from _conv("conv1", f"{first}.conv1", 0)
    yield from _torgb("to_rgb1", f"{first}.torgb")
    for block, side in enumerate(doublings(config.resolution)):
        for conv in range(2):
            index = 2 * block + conv
            yield from _conv(f"convs.{index}", f"b{side}.conv{conv}", index + 1)
        yield from _torgb(f"to_rgbs.{block}", f"b{side}.torgb")


def _first(resolution: Resolution) -> str:
    """Name of the block of the smallest grid."""
    return f"b{pyramid(resolution)[0].longer}"


def _conv(name: str, official: str, noise: int) -> Iterator[tuple[str, str]]:
    yield from _modulated(name, official)
    yield f"{name}.activate.bias", f"synthesis.{official}.bias"
    yield f"{name}.noise.weight", f"synthesis.{official}.noise_strength"
    yield f"noises.noise_{noise}", f"synthesis.{official}.noise_const"


def _torgb(name: str, official: str) -> Iterator[tuple[str, str]]:
    yield from _modulated(name, official)
    yield f"{name}.bias", f"synthesis.{official}.bias"


def _modulated(name: str, official: str) -> Iterator[tuple[str, str]]:
    yield f"{name}.conv.weight", f"synthesis.{official}.weight"
    for part in ("weight", "bias"):
        yield f"{name}.conv.modulation.{part}", f"synthesis.{official}.affine.{part}"


def _discriminator_names(config: DiscriminatorConfig) -> Iterator[tuple[str, str]]:
    last, side = _first(config.resolution), longer_side(config.resolution)
    yield "convs.0.0.weight", f"b{side}.fromrgb.weight"
    yield "convs.0.1.bias", f"b{side}.fromrgb.bias"
    for index, side in enumerate(reversed(doublings(config.resolution)), start=1):
        yield f"convs.{index}.conv1.0.weight", f"b{side}.conv0.weight"
        yield f"convs.{index}.conv1.1.bias", f"b{side}.conv0.bias"
        yield f"convs.{index}.conv2.1.weight", f"b{side}.conv1.weight"
        yield f"convs.{index}.conv2.2.bias", f"b{side}.conv1.bias"
        yield f"convs.{index}.skip.1.weight", f"b{side}.skip.weight"
    yield "final_conv.0.weight", f"{last}.conv.weight"
    yield "final_conv.1.bias", f"{last}.conv.bias"
    for index, official in enumerate((f"{last}.fc", f"{last}.out")):
        for part in ("weight", "bias"):
            yield f"final_linear.{index}.{part}", f"{official}.{part}"


def _converted(tensors: Mapping[str, Array], names: Mapping[str, str]) -> Iterator[tuple[str, Array]]:
    for name, array in tensors.items():
        if name.endswith(_FILTERS):
            _check_filter(name, array)
        elif name not in names:
            raise UnsupportedNetworkError(f"{name:.100}: unknown tensor, which may belong to another network")
        else:
            yield names[name], _official_shape(names[name], array)


def _official_shape(official: str, array: Array) -> Array:
    if official.endswith("noise_strength"):
        return array.reshape(()) if array.size == 1 else array
    if official.endswith("noise_const"):
        return array.reshape(array.shape[-2:]) if array.ndim == 4 else array
    if official.endswith("torgb.bias"):
        return array.reshape(-1)
    if (array.ndim == 5 or official.endswith("const")) and array.shape[:1] == (1,):
        return array[0]
    return array


def _check_filter(name: str, array: Array) -> None:
    """Reject filters other than [1, 3, 3, 1] with gain 1 or, for upsampling, 4."""
    gain = 4 if name.endswith(_FILTERS[:2]) else 1
    if array.shape != _FIR.shape or not np.allclose(np.float64(array), gain * _FIR, rtol=2**-8, atol=1e-6):
        raise UnsupportedNetworkError(f"{name:.100}: only the filter [1, 3, 3, 1] is supported")


def _average(latent_avg: Any, w_dim: int) -> dict[str, Array]:
    """Return the average of w, if the file has one; one per layer is accepted only if all are equal."""
    if not isinstance(latent_avg, np.ndarray) or latent_avg.size == 0:
        return {}
    rows = latent_avg.reshape(-1, w_dim) if latent_avg.size % w_dim == 0 else np.zeros([2, 1])
    if not np.all(rows == rows[0]):
        raise UnsupportedNetworkError(
            f"latent_avg of shape {latent_avg.shape}: only one vector of {w_dim} is supported"
        )
    return {"mapping.w_avg": rows[0]}


def _missing_noise(config: StyleGAN2Config) -> dict[str, Array]:
    """Return fixed random noise images for layers that store none."""
    rng = np.random.default_rng(_NOISE_SEED)
    first, *others = pyramid(config.resolution)
    layers = [(first, f"b{first.longer}.conv1")]
    layers += [(size, f"b{size.longer}.conv{index}") for size, index in itertools.product(others, range(2))]
    return {
        f"synthesis.{name}.noise_const": rng.standard_normal([size.height, size.width], np.float32)
        for size, name in layers
    }
