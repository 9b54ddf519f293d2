"""Matching layers of two networks, and weights of one in the shapes of the other, for --init_from.

StyleGAN2 and the discriminator have layers for every resolution, which match by name. If no resolutions agree, as
between 32 x 32 and 48 x 32, they match in order, from the smallest. Discriminator blocks that the source does not have
initially pass on their input, downsampled by 2. The layers of StyleGAN3 match in order; if their numbers differ, those
with the nearest cutoffs and sampling rates match. Sizes may differ: the first channels are the common ones, and weights
from a new input to an existing output start at zero.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sg3tf import Discriminator, StyleGAN2Generator
from sg3tf.models.stylegan3 import StyleGAN3Generator
from sg3tf.utils.resolution import Size, longer_side, pyramid, size_of

Array = NDArray[np.float32]
_COLORS = 3
_INPUT_AXIS, _OUTPUT_AXIS = 2, 3  # of a convolution's kernel


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """Variables that are copied, resized or left together.

    Attributes:
        name: official name.
        variables: variables by role, such as "kernel" and "affine.bias".
        image_axis: axis of the kernel for the channels of the image; None: the layer does not touch the image.
        extra_inputs: number of the kernel's inputs after the features, for minibatch statistics or the label.
        positions: grid of the features that a dense kernel flattens.
        role: name by which layers of two networks match, if not `name`, which depends on the shape of the grid.
        width: width of the image, relative to its longer side: the unit of the input's frequencies and translations.
        place: log2 of the cutoff and of the sampling rate, in StyleGAN3.
        classes: the kernel's inputs that are copied, in their new order; () for the first ones.
    """

    name: str
    variables: dict[str, keras.Variable]
    image_axis: int | None = None
    extra_inputs: int = 0
    positions: Size | None = None
    role: str | None = None
    width: float = 1.0
    place: tuple[float, float] | None = None
    classes: tuple[int, ...] = ()


def copy_layers(source: keras.Model, target: keras.Model, classes: tuple[int, ...] = ()) -> list[str]:
    """Copy every layer of `source` that has a counterpart in `target`.

    Args:
        source, target: generators or discriminators of the same kind.
        classes: numbers of the classes of `target` in `source`, if the widths of their labels differ; () if unknown.

    Returns:
        A line for each layer of `target`: copied, resized, or left at its initial value. Empty if all layers are copied
        unchanged from layers of the same name.
    """
    lines, is_whole = [], True
    pairs = [*_pairs(source, target, classes)]
    passed_on = _new_blocks(target, pairs)
    for layer, other in pairs:
        if other is None:
            block, _, part = layer.name.partition(".")
            lines.append(f"{layer.name}: {_init_as_downsampling(part, layer) if block in passed_on else 'initial'}")
            is_whole = False
            continue
        changed = _copy(other, layer)
        is_whole = is_whole and not changed and other.name == layer.name
        origin = "" if other.name == layer.name else f" from {other.name}"
        lines.append(
            f"{layer.name}: resized{origin} ({', '.join(changed)})" if changed else f"{layer.name}: copied{origin}"
        )
    return [] if is_whole else lines


def _pairs(source: keras.Model, target: keras.Model, classes: tuple[int, ...]) -> Iterator[tuple[Layer, Layer | None]]:
    there, here = [*_layers(source)], [*_layers(target)]
    key = _block_order if _have_other_resolutions(source, target) else _name
    by_name = {key(source, layer): layer for layer in there if layer.place is None}
    by_place = _matched([layer for layer in there if layer.place], [layer for layer in here if layer.place])
    for name in _label_dependent_roles(source.config, target.config):
        embed = by_name.pop(name, None)
        if embed and name == "mapping.embed" and classes:
            by_name[name] = dataclasses.replace(embed, classes=classes)
    if _starts_at_higher_resolution(source, target):
        first = here[[layer.name.endswith(".fromrgb") for layer in here].index(True)]
        from_rgb = next(layer for layer in there if layer.name.endswith(".fromrgb"))
        del by_name[key(source, from_rgb)]
        by_name[key(target, first)] = from_rgb
    for layer in here:
        yield layer, by_name.get(key(target, layer)) if layer.place is None else by_place.get(layer.name)


def _have_other_resolutions(source: keras.Model, target: keras.Model) -> bool:
    """Return True if no downsampled versions of the two images have the same longer side."""
    octaves = math.log2(longer_side(source.config.resolution) / longer_side(target.config.resolution))
    return octaves != round(octaves)


def _name(_: keras.Model, layer: Layer) -> str:
    return layer.role or layer.name


def _block_order(model: keras.Model, layer: Layer) -> str:
    """Name of a layer with its block's resolution replaced by the block's position, counted from the smallest."""
    block, _, part = layer.name.partition(".")
    if layer.role or not block[1:].isdecimal():
        return _name(model, layer)
    return f"{_sides(model).index(int(block[1:]))}.{part}"


def _sides(model: keras.Model) -> list[int]:
    """Longer sides of a network's grids, smallest first."""
    return [size.longer for size in pyramid(model.config.resolution)]


def _label_dependent_roles(there: Any, here: Any) -> list[str]:
    """Roles of layers that do not match because the labels differ."""
    names = ["mapping.embed"] if there.label_dim != here.label_dim else []
    return [*names, "b4.out"] if bool(there.label_dim) != bool(here.label_dim) else names


def _is_residual(target: keras.Model) -> bool:
    return isinstance(target, Discriminator) and target.config.architecture == "resnet"


def _starts_at_higher_resolution(source: keras.Model, target: keras.Model) -> bool:
    """Return True for a residual discriminator whose first block has a higher resolution than `source`."""
    if not _is_residual(target):
        return False
    if _have_other_resolutions(source, target):
        return len(_sides(target)) > len(_sides(source))
    return longer_side(target.config.resolution) > longer_side(source.config.resolution)


def _new_blocks(target: keras.Model, pairs: list[tuple[Layer, Layer | None]]) -> set[str]:
    """Names of the blocks of a residual discriminator that have no counterpart."""
    if not _is_residual(target):
        return set()
    known = {layer.name.partition(".")[0] for layer, other in pairs if other and not layer.name.endswith(".fromrgb")}
    return {block.name for block in target.blocks} - known


def _init_as_downsampling(part: str, layer: Layer) -> str:
    """Initialize a layer such that its new block only downsamples its input; return how it was initialized."""
    kernel = layer.variables["kernel"]
    if part == "skip":
        num_inputs, num_outputs = kernel.shape[-2:]
        # When used, kernels are divided by the root of their number of inputs, and the sum of both branches by sqrt(2).
        kernel.assign(np.eye(num_inputs, num_outputs, dtype=np.float32)[None, None] * (2 * num_inputs) ** 0.5)
        return "identity"
    if part == "conv1":
        kernel.assign(np.zeros(kernel.shape, np.float32))
        return "zero"
    return "initial"


def _matched(there: list[Layer], here: list[Layer]) -> dict[str, Layer]:
    """Match layers in order, each once, minimizing the squared differences of their places."""
    where, place = (np.array([layer.place for layer in layers], np.float64).reshape(-1, 2) for layers in (there, here))
    # Order breaks ties between layers of equal cutoff and rate. A place is reduced to a single number, because squared
    # differences of single numbers preserve the order.
    where, place = (p @ [1, 0.1] + 1e-4 * np.arange(len(p)) for p in (where, place))
    rows, columns = linear_sum_assignment(np.square(place[:, None] - where[None, :]))
    return {here[row].name: there[column] for row, column in zip(rows, columns, strict=True)}


# --- Layers of each network -------------------------------------------------------------------------------------------


def _layers(model: keras.Model) -> Iterator[Layer]:
    if model.mapping_network is not None:
        yield from _mapping(model.mapping_network)
    if isinstance(model, Discriminator):
        yield from _discriminator(model)
        return
    if hasattr(model, "fourier_input"):
        size = size_of(model.config.resolution)
        variables = _variables(model.fourier_input, "kernel", "freqs", "phases", "transform")
        yield Layer("input", variables, width=size.width / size.longer)
    if isinstance(model, StyleGAN2Generator):
        if not model.config.fourier_input:
            yield Layer(f"b{max(model.const.shape[:2])}.const", {"const": model.const})
        for layer in model.convs:
            yield Layer(layer.name, _variables(layer, "kernel", "bias", "noise_strength", "noise_const"))
        for layer in model.torgbs:
            yield Layer(layer.name, _variables(layer, "kernel", "bias"), image_axis=_OUTPUT_AXIS)
        for layer in model.skips:
            yield Layer(layer.name, _variables(layer, "kernel"))
    elif isinstance(model, StyleGAN3Generator):
        for layer in model.synthesis_layers:
            plan = layer.plan
            variables = _variables(layer, "kernel", "bias", "magnitude_ema")
            if plan.is_torgb:
                yield Layer("torgb", variables, image_axis=_OUTPUT_AXIS)
            else:
                yield Layer(layer.name, variables, place=(math.log2(plan.out_cutoff), math.log2(plan.out_rate)))


def _mapping(mapping: keras.layers.Layer) -> Iterator[Layer]:
    if mapping.w_avg is not None:
        yield Layer("mapping.w_avg", {"w_avg": mapping.w_avg})
    inputs = mapping.embed.kernel.shape[-1] if mapping.embed else 0
    for layer in filter(None, [mapping.embed, *mapping.dense]):
        extra_inputs = inputs if layer is mapping.dense[0] else 0
        yield Layer(f"mapping.{layer.name}", _variables(layer, "kernel", "bias"), extra_inputs=extra_inputs)


def _discriminator(model: Discriminator) -> Iterator[Layer]:
    first = f"b{longer_side(model.config.resolution)}"
    yield Layer(f"{first}.fromrgb", _variables(model.fromrgb, "kernel", "bias"), image_axis=_INPUT_AXIS)
    for layer in model.skip_fromrgbs:
        yield Layer(layer.name, _variables(layer, "kernel", "bias"), image_axis=_INPUT_AXIS)
    for block in model.blocks:
        for layer in filter(None, (block.conv0, block.conv1, block.skip)):
            yield Layer(f"{block.name}.{layer.name}", _variables(layer, "kernel", "bias"))
    last = f"b{model.last_size.longer}"
    conv, fc, out = (_variables(layer, "kernel", "bias") for layer in (model.conv, model.fc, model.out))
    yield Layer(f"{last}.conv", conv, extra_inputs=model.config.mbstd_channels, role="b4.conv")
    yield Layer(f"{last}.fc", fc, positions=model.last_size, role="b4.fc")
    yield Layer(f"{last}.out", out, role="b4.out")


def _variables(layer: keras.layers.Layer, *names: str) -> dict[str, keras.Variable]:
    """Variables of a layer and of its affine map of styles, if it has one."""
    found = {name: value for name in names if (value := getattr(layer, name, None)) is not None}
    if hasattr(layer, "affine"):
        found |= {"affine.kernel": layer.affine.kernel, "affine.bias": layer.affine.bias}
    return found


# --- Weights in other shapes ------------------------------------------------------------------------------------------


def _copy(source: Layer, target: Layer) -> list[str]:
    """Copy the variables of a layer; list those that were resized, or left initial because the source lacks them."""
    changed = []
    for role, variable in target.variables.items():
        if role not in source.variables:
            changed.append(f"{role} initial")
            continue
        old, initial = source.variables[role].numpy(), variable.numpy()
        if role == "kernel" and source.classes:
            changed.append(f"kernel of {len(source.classes)} of {len(old)} classes")
            # When used, weights are divided by the root of their number of inputs.
            old = old[list(source.classes)] * np.float32((len(source.classes) / len(old)) ** 0.5)
        if source.width != target.width:
            old = _in_image_widths(role, old, source.width / target.width)
        if old.shape != initial.shape:
            changed.append(f"{role} {_shape(old)} to {_shape(initial)}")
        elif role == "kernel" and source.positions != target.positions:
            changed.append(f"{role} from a grid of {source.positions} to {target.positions}")
        if role == "kernel":
            old = _with_image_channels(old, initial.shape, target.image_axis)
            variable.assign(_fit_kernel(old, initial, source, target))
        elif role == "const":
            variable.assign(_fit(_on_grid(old, Size(*reversed(initial.shape[:2]))), initial))
        elif role == "bias" and target.image_axis == _OUTPUT_AXIS:
            variable.assign(_fit(_with_image_channels(old, initial.shape, axis=0), initial))
        else:
            variable.assign(_fit(old, initial, input_axis=0 if role == "affine.kernel" else None))
    return changed


def _shape(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "1"


def _fit_kernel(old: Array, initial: Array, source: Layer, target: Layer) -> Array:
    if old.ndim == 4:
        old = _with_size(old, initial.shape[0])
    if source.positions and target.positions:
        old = _with_positions(old, source.positions, target.positions)
        split = [array.reshape(target.positions.pixels, -1, array.shape[1]) for array in (old, initial)]
        return _fit(split[0], split[1], input_axis=1).reshape(initial.shape)
    features = [array.shape[-2] - layer.extra_inputs for array, layer in ((old, source), (initial, target))]
    num_inputs = old.shape[-2], initial.shape[-2]
    parts = [_fit(old[..., : features[0], :], initial[..., : features[1], :], -2, num_inputs)]
    if target.extra_inputs:
        parts.append(_fit(old[..., features[0] :, :], initial[..., features[1] :, :], -2, num_inputs))
    return np.concatenate(parts, axis=-2)


def _fit(old: Array, initial: Array, input_axis: int | None = None, num_inputs: tuple[int, int] | None = None) -> Array:
    """Resize `old` to the shape of `initial`, which provides new values, except zeros from new inputs to old outputs.

    When used, weights are divided by the root of their number of inputs; scaling them compensates for its change. If
    `old` and `initial` are parts of kernels, `num_inputs` has the numbers for the whole kernels.
    """
    before, after = num_inputs or ((1, 1) if input_axis is None else (old.shape[input_axis], initial.shape[input_axis]))
    if old.shape == initial.shape and before == after:
        return old
    common = tuple(slice(min(a, b)) for a, b in zip(old.shape, initial.shape, strict=True))
    result = initial.copy()
    if input_axis is None:
        result[common] = old[common]
        return result
    fresh = list(common)
    fresh[input_axis] = slice(old.shape[input_axis], None)
    result[tuple(fresh)] = 0
    result[common] = old[common] * np.float32((after / before) ** 0.5)
    return result


def _in_image_widths(role: str, array: Array, ratio: float) -> Array:
    """Convert the input's frequencies and translations to units of an image that is 1 / ratio times as wide."""
    if role == "freqs":
        return array / np.float32(ratio)
    is_affine = role in ("affine.kernel", "affine.bias")  # to (cos, sin, x, y)
    return array * np.array([1, 1, ratio, ratio], np.float32) if is_affine else array


def _with_positions(kernel: Array, before: Size, after: Size) -> Array:
    """Resample a dense kernel of flattened features [H, W, C] to another grid, from the nearest old positions.

    When used, weights are divided by the root of their number; the factor here preserves the sum over positions.
    """
    if before == after:
        return kernel
    grid = _on_grid(kernel.reshape(before.height, before.width, -1), after)
    return grid.reshape(-1, kernel.shape[1]) * np.float32((before.pixels / after.pixels) ** 0.5)


def _on_grid(features: Array, size: Size) -> Array:
    """Resample features [H, W, C] to another size, from the nearest old positions."""
    height, width, _ = features.shape
    rows = ((np.arange(size.height) + 0.5) * height / size.height).astype(int)
    columns = ((np.arange(size.width) + 0.5) * width / size.width).astype(int)
    return features[rows][:, columns]


def _with_size(kernel: Array, size: int) -> Array:
    """Sum a 3 x 3 kernel to 1 x 1 (config T to R), or pad a 1 x 1 kernel with zeros to 3 x 3."""
    if kernel.shape[0] == size:
        return kernel
    if size == 1:
        return kernel.sum(axis=(0, 1), keepdims=True)
    edge = (size - kernel.shape[0]) // 2
    return np.pad(kernel, [(edge, edge), (edge, edge), (0, 0), (0, 0)])


def _with_image_channels(kernel: Array, shape: tuple[int, ...], axis: int | None) -> Array:
    """Convert a kernel's color channels to gray or back; the fourth channel, transparency, has no counterpart."""
    if axis is None or kernel.shape[axis] == shape[axis] or 1 not in (kernel.shape[axis], shape[axis]):
        return kernel
    is_input = axis == _INPUT_AXIS
    colors = kernel.take(range(min(_COLORS, kernel.shape[axis])), axis=axis)
    if shape[axis] == 1:
        gray = colors.sum(axis=axis, keepdims=True) if is_input else colors.mean(axis=axis, keepdims=True)
        return gray / np.float32(kernel.shape[axis] ** 0.5) if is_input else gray
    colored = np.repeat(colors, _COLORS, axis=axis)
    return colored / np.float32(_COLORS**0.5) if is_input else colored
