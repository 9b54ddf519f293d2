"""Generators as ONNX graphs, written layer by layer from the Keras layers' weights.

The internal layout is NCHW. Everything that depends only on weights is computed here, in float64: scaled kernels,
filters as matrices, sums of noise and bias.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.onnx_graph import GraphWriter, Images
from sg3tf.models.ablation_layers import AblationLayer
from sg3tf.models.layers import (
    ACTIVATION_GAINS,
    LRELU_GAIN,
    LRELU_SLOPE,
    MIN_TRANSITION,
    EqualizedConv2D,
    EqualizedDense,
    FourierInput,
    MappingNetwork,
    resample_taps,
)
from sg3tf.models.stylegan1 import BLUR_TAPS, AdaINConv, StyleGAN1Generator
from sg3tf.models.stylegan2 import StyleConv, StyleGAN2Generator, ToRGB
from sg3tf.models.stylegan3 import StyleGAN3Generator, SynthesisLayer
from sg3tf.ops.geometry import Resampling
from sg3tf.utils.resolution import size_of

FloatArray = NDArray[np.float64]
Convolution = Callable[[Images, FloatArray], Images]


def write_mapping(graph: GraphWriter, G: Any, z: str, label: str | None, psi: str, cutoff: str) -> str:
    """Add the mapping and truncation.

    Args:
        graph: the graph to add to.
        G: `sg3tf.Generator`, built.
        z, label: tensors float32 [N, z_dim] and [N, label_dim].
        psi, cutoff: tensors float32 and int64, [N] or [1].

    Returns:
        Style vectors, float32 [N, num_ws, w_dim].
    """
    with graph.scope("mapping"):
        w = graph.reshape(_mapping(graph, G.mapping_network, z, label), 0, 1, -1)
        average = _array(G.mapping_network.w_avg)
        apart = graph.node("Mul", graph.node("Sub", w, graph.constant(average)), graph.reshape(psi, -1, 1, 1))
        is_truncated = graph.node("Less", graph.constant(np.arange(G.num_ws)[:, None]), graph.reshape(cutoff, -1, 1, 1))
        return graph.node("Where", is_truncated, graph.add(apart, average), w)


def write_synthesis(graph: GraphWriter, G: Any, ws: str, transform: str | None) -> str:
    """Add the synthesis.

    Args:
        graph: the graph to add to.
        G: `sg3tf.Generator`, built.
        ws: tensor float32 [N, num_ws, w_dim].
        transform: tensor float32 [N or 1, 3, 3], if G supports one.

    Returns:
        Images, float32 [N, H, W, image_channels].

    Raises:
        ValueError: G is not a generator of sg3tf.
    """
    styles = [graph.node("Gather", ws, graph.constant(np.array(i)), axis=1) for i in range(G.num_ws)]
    if isinstance(G, StyleGAN3Generator):
        images = _stylegan3(graph, G, styles, transform)
    elif isinstance(G, StyleGAN2Generator):
        images = _stylegan2(graph, G, styles, transform)
    elif isinstance(G, StyleGAN1Generator):
        images = _stylegan1(graph, G, styles)
    else:
        raise ValueError(f"a {type(G).__name__} cannot be written as ONNX: give a generator of sg3tf")
    return graph.node("Transpose", images.name, perm=[0, 2, 3, 1])


def _array(variable: Any) -> FloatArray:
    return np.asarray(variable, np.float64)


# --- Dense layers and the mapping -------------------------------------------------------------------------------------


def _dense(graph: GraphWriter, layer: EqualizedDense, x: str) -> str:
    kernel, bias = _array(layer.kernel), _array(layer.bias)
    # The gain of these activations commutes with them.
    gain = layer.lr_multiplier * ACTIVATION_GAINS[layer.activation]
    y = graph.dense(x, kernel * gain / len(kernel) ** 0.5, bias * gain)
    return _activate(graph, y, layer.activation)


def _activate(graph: GraphWriter, x: str, activation: str) -> str:
    if activation == "lrelu":
        return graph.leaky_relu(x, LRELU_SLOPE)
    return graph.node("Relu", x) if activation == "relu" else x


def _mapping(graph: GraphWriter, layer: MappingNetwork, z: str, label: str | None) -> str:
    w = _unit_rows(graph, z)
    if layer.embed is not None and label is not None:
        w = graph.node("Concat", w, _unit_rows(graph, _dense(graph, layer.embed, label)), axis=1)
    for dense in layer.dense:
        w = _dense(graph, dense, w)
    return w


def _unit_rows(graph: GraphWriter, x: str) -> str:
    return graph.node("Mul", x, graph.rsqrt(graph.add(graph.mean_square(x, [1]), 1e-8)))


# --- Modulated convolution --------------------------------------------------------------------------------------------

# The Keras layers normalize styles first, which cancels out, and add 1e-8 of their mean square here. This constant only
# keeps zero styles from becoming infinite.
_SMALLEST_ENERGY = 1e-16


def _modulated(
    graph: GraphWriter, x: Images, kernel: FloatArray, styles: str, convolve: Convolution, gain: float, demodulate: bool
) -> Images:
    """Convolve with kernel [K, K, in, out] times styles [N, in], normalized per output channel if `demodulate`."""
    if not demodulate:
        return convolve(graph.per_channel(x, "Mul", styles), kernel * gain)
    kernel = kernel / np.sqrt(np.square(kernel).sum(axis=(0, 1, 2)))
    energy = graph.node("MatMul", graph.node("Mul", styles, styles), graph.kernel(np.square(kernel).sum(axis=(0, 1))))
    output_scale = graph.rsqrt(graph.add(energy, _SMALLEST_ENERGY))
    y = convolve(graph.per_channel(x, "Mul", styles), kernel * gain)
    return graph.per_channel(y, "Mul", output_scale)


def _constant_input(graph: GraphWriter, const: Any) -> Images:
    array = _array(const)
    return Images(graph.constant(array.transpose(2, 0, 1)[None]), *array.shape[:2])


def _upfirdn2d(graph: GraphWriter, x: Images, taps: Any, pad: tuple[int, ...], gain: float, up: int = 1) -> Images:
    return graph.resample(x, Resampling.create(taps, up, 1, pad, False, gain))


def _upsample(graph: GraphWriter, x: Images, taps: FloatArray) -> Images:
    before, after = (len(taps) + 1) // 2, (len(taps) - 2) // 2
    return _upfirdn2d(graph, x, taps, (before, after, before, after), 4, up=2)


# --- StyleGAN3 and its ablations --------------------------------------------------------------------------------------


def _stylegan3(graph: GraphWriter, G: StyleGAN3Generator, styles: list[str], transform: str | None) -> Images:
    x = _fourier_input(graph, G.fourier_input, styles[0], transform)
    first = len(styles) - len(G.synthesis_layers)  # 0 if the input uses no style vector
    for layer, w in zip(G.synthesis_layers, styles[first:], strict=True):
        with graph.scope(layer.name):
            x = _synthesis_layer(graph, layer, x, w)
    return x._replace(name=graph.scale(x.name, G.config.output_scale))


def _fourier_input(graph: GraphWriter, layer: FourierInput, w: str, transform: str | None) -> Images:
    with graph.scope("input"):
        freqs, phases = _array(layer.freqs), _array(layer.phases)
        matrix = transform or graph.constant(_array(layer.transform)[None])
        if layer.transformed:
            matrix = graph.node("MatMul", _learned_transform(graph, layer, w), matrix)
        # Rows of `moved` are (fx, fy, phase shift): [C, 2] times the upper two rows of each matrix.
        upper = graph.columns(matrix, 0, 2)  # the matrix's rows: the first dimension is the batch
        moved = graph.node("MatMul", graph.constant(freqs), upper)
        fx, fy, shift = (graph.node("Gather", moved, graph.constant(np.array(i)), axis=2) for i in range(3))
        transition = max(layer.sampling_rate / 2 - layer.bandwidth, MIN_TRANSITION * layer.bandwidth)
        radius = graph.node("Sqrt", graph.node("Add", graph.node("Mul", fx, fx), graph.node("Mul", fy, fy)))
        amplitude = graph.add(graph.scale(radius, -1 / transition), 1 + layer.bandwidth / transition)
        amplitude = graph.node("Clip", amplitude, graph.constant(0.0), graph.constant(1.0))
        turns = graph.add(shift, phases)
        # The angles of both axes are added before the sine, because the angle addition formula would lose digits.
        width, height = size_of(layer.size)
        fx, fy, turns, amplitude = (graph.reshape(part, 0, -1, 1, 1) for part in (fx, fy, turns, amplitude))
        along_y = graph.node("Add", graph.scale(fy, _centers(height, layer)[:, None]), turns)
        cycles = graph.node("Add", graph.scale(fx, _centers(width, layer)), along_y)
        waves = graph.node("Mul", graph.node("Sin", graph.scale(cycles, 2 * np.pi)), amplitude)
        kernel = _array(layer.kernel) / layer.channels**0.5
        x = graph.convolve(Images(waves, height, width), kernel[None, None], pad=0)
        if layer.transformed:
            return x
        # w provides the number of images, which a single transform does not.
        nothing = graph.scale(graph.node("Gather", w, graph.constant(np.array([0])), axis=1), 0.0)
        return graph.per_channel(x, "Add", nothing)


def _centers(size: int, layer: FourierInput) -> FloatArray:
    """Positions of pixel centers, in image widths."""
    return (np.arange(size) + 0.5 - size / 2) / layer.sampling_rate


def _learned_transform(graph: GraphWriter, layer: FourierInput, w: str) -> str:
    """Rotation @ Translation [N, 3, 3] of (cos, sin, tx, ty) [N, 4], divided by the length of (cos, sin)."""
    t = _dense(graph, layer.affine, w)
    direction = graph.columns(t, 0, 2)
    t = graph.node("Div", t, graph.node("ReduceL2", direction, graph.constant(np.array([1]))))
    cos, sin, tx, ty = (graph.node("Gather", t, graph.constant(np.array([i])), axis=1) for i in range(4))
    negative_sin = graph.node("Neg", sin)

    def dot(a: str, b: str) -> str:
        return graph.node("Neg", graph.node("Add", graph.node("Mul", a, tx), graph.node("Mul", b, ty)))

    zero = graph.scale(cos, 0.0)
    one = graph.add(zero, 1.0)
    elements = (cos, negative_sin, dot(cos, negative_sin), sin, cos, dot(sin, cos), zero, zero, one)
    return graph.reshape(graph.node("Concat", *elements, axis=1), 0, 3, 3)


def _synthesis_layer(graph: GraphWriter, layer: SynthesisLayer, x: Images, w: str) -> Images:
    p, kernel = layer.plan, _array(layer.kernel)
    conv_up = layer.plan.conv_up if isinstance(layer, AblationLayer) else 1
    if conv_up > 1:
        convolve: Convolution = partial(graph.convolve_up, up=conv_up)
    else:
        convolve = partial(graph.convolve, pad=len(kernel) - 1)
    gain = float(_array(layer.magnitude_ema)) ** -0.5
    if p.is_torgb:
        gain /= (p.in_channels * len(kernel) ** 2) ** 0.5
    y = _modulated(graph, x, kernel, _dense(graph, layer.affine, w), convolve, gain, not p.is_torgb)
    pad, up_filter = p.padding, layer.up_filter
    if conv_up > 1:
        y = _upfirdn2d(graph, y, up_filter, pad, conv_up**2)
        pad, up_filter = (0, 0, 0, 0), None
    y = y._replace(name=graph.add(y.name, _array(layer.bias)[:, None, None]))
    y = _upfirdn2d(graph, y, up_filter, pad, p.up**2 * (1.0 if p.is_torgb else LRELU_GAIN), up=p.up)
    name = graph.clip(graph.leaky_relu(y.name, 1.0 if p.is_torgb else LRELU_SLOPE), layer.conv_clamp)
    downsampling = Resampling.create(layer.down_filter, 1, p.down, (0, 0, 0, 0), False, 1.0)
    return graph.resample(y._replace(name=name), downsampling)


# --- StyleGAN2 --------------------------------------------------------------------------------------------------------


def _stylegan2(graph: GraphWriter, G: StyleGAN2Generator, styles: list[str], transform: str | None) -> Images:
    c = G.config
    if c.fourier_input:
        x = _fourier_input(graph, G.fourier_input, styles[0], transform)
    else:
        x = _constant_input(graph, G.const)
    taps = resample_taps(c.resample_filter)
    image: Images | None = None
    shortcut: Images | None = None
    for index, conv in enumerate(G.convs):
        if conv.up == 2 and c.architecture == "skip" and image is not None:
            image = _upsample(graph, image, taps)
        elif conv.up == 2 and c.architecture == "resnet":
            with graph.scope(G.skips[index // 2].name):
                shortcut = _upsample(graph, _conv(graph, G.skips[index // 2], x), taps)
        with graph.scope(conv.name):
            x = _style_conv(graph, conv, x, styles[index])
        if index % 2 == 0:
            if shortcut is not None:
                x = _sum(graph, shortcut, x)
            if c.architecture == "skip":
                image = _sum(graph, image, _torgb(graph, G.torgbs[index // 2], x, styles[index + 1]))
    return image or _torgb(graph, G.torgbs[0], x, styles[-1])


def _sum(graph: GraphWriter, a: Images | None, b: Images) -> Images:
    return b if a is None else b._replace(name=graph.node("Add", a.name, b.name))


def _style_conv(graph: GraphWriter, layer: StyleConv, x: Images, w: str) -> Images:
    gain = ACTIVATION_GAINS[layer.activation] * layer.gain  # commutes with the activation
    kernel = _array(layer.kernel)
    if layer.up == 2:
        convolve: Convolution = partial(graph.convolve_up, up=2)
    else:
        convolve = partial(graph.convolve, pad=len(kernel) // 2)
    y = _modulated(graph, x, kernel, _dense(graph, layer.affine, w), convolve, gain, demodulate=True)
    if layer.up == 2:
        taps = resample_taps(layer.resample_filter)
        before, after = (len(taps) - 1) // 2, (len(taps) - 2) // 2
        y = _upfirdn2d(graph, y, taps, (before, after, before, after), 4)
    name = y.name
    if layer.noise and float(_array(layer.noise_strength)):
        name = graph.add(name, _array(layer.noise_const)[None] * float(_array(layer.noise_strength)) * gain)
    name = graph.add(name, _array(layer.bias)[:, None, None] * gain)
    return y._replace(name=graph.clip(_activate(graph, name, layer.activation), layer.clamp * layer.gain))


def _torgb(graph: GraphWriter, layer: ToRGB, x: Images, w: str) -> Images:
    with graph.scope(layer.name):
        styles = _dense(graph, layer.affine, w)
        convolve = partial(graph.convolve, pad=0)
        y = _modulated(graph, x, _array(layer.kernel), styles, convolve, layer.in_channels**-0.5, demodulate=False)
        return y._replace(name=graph.clip(graph.add(y.name, _array(layer.bias)[:, None, None]), layer.clamp))


def _conv(graph: GraphWriter, layer: EqualizedConv2D, x: Images) -> Images:
    """Add an EqualizedConv2D of a generator, which does not downsample."""
    kernel = _array(layer.kernel)
    gain = layer.gain * ACTIVATION_GAINS[layer.activation]
    y = graph.convolve(x, kernel * gain * math.prod(kernel.shape[:3]) ** -0.5, pad=len(kernel) // 2)
    name = y.name if layer.bias is None else graph.add(y.name, _array(layer.bias)[:, None, None] * gain)
    bound = None if layer.clamp is None else layer.clamp * layer.gain
    return y._replace(name=graph.clip(_activate(graph, name, layer.activation), bound))


# --- StyleGAN1 --------------------------------------------------------------------------------------------------------


def _stylegan1(graph: GraphWriter, G: StyleGAN1Generator, styles: list[str]) -> Images:
    x = _constant_input(graph, G.const)
    for layer, w in zip(G.convs, styles, strict=True):
        with graph.scope(layer.name):
            x = _adain_conv(graph, layer, x, w)
    with graph.scope(G.torgb.name):
        return _conv(graph, G.torgb, x)


def _adain_conv(graph: GraphWriter, layer: AdaINConv, x: Images, w: str) -> Images:
    if layer.up == 2:
        x = _upfirdn2d(graph, x, np.ones(2), (1, 0, 1, 0), 1, up=2)
    if layer.up:
        kernel = _array(layer.kernel)
        x = graph.convolve(x, kernel * LRELU_GAIN * math.prod(kernel.shape[:3]) ** -0.5, pad=len(kernel) // 2)
    if layer.up == 2:
        x = _upfirdn2d(graph, x, BLUR_TAPS, (1, 1, 1, 1), 1)
    strength = _array(layer.noise_strength)[:, None, None]
    noise = graph.scale(graph.constant(_array(layer.noise_const)), strength)  # the product has more elements than both
    name = graph.add(graph.node("Add", x.name, noise), _array(layer.bias)[:, None, None])
    name = graph.leaky_relu(name, LRELU_SLOPE)
    axes = graph.constant(np.array([2, 3]))
    name = graph.node("Sub", name, graph.node("ReduceMean", name, axes))
    name = graph.node("Mul", name, graph.rsqrt(graph.add(graph.mean_square(name, [2, 3]), 1e-8)))
    style = _dense(graph, layer.affine, w)
    scale, shift = (graph.columns(style, start, start + layer.filters) for start in (0, layer.filters))
    x = graph.per_channel(x._replace(name=name), "Mul", graph.add(scale, 1.0))
    return graph.per_channel(x, "Add", shift)
