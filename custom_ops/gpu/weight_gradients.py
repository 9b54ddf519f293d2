"""Export forms of the gradient of a 'full' convolution with respect to its kernel, to time them on a GPU.

python custom_ops/gpu/weight_gradients.py --out=build/weight_gradients

The gradient is a convolution. XLA moves the padding of x into it, finds that the gradient of the output is the larger
operand, swaps the two, and no longer recognizes a weight gradient (docs/adr/0023-weight-gradients.md).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tensorflow as tf

from custom_ops.gpu import stablehlo
from custom_ops.gpu.program_set import Argument, Entry, ProgramSet
from sg3tf.models.configs import GeneratorConfig
from sg3tf.models.layer_plan import plan_synthesis
from sg3tf.models.presets import generator_preset
from sg3tf.utils.resolution import longer_side

# --- Forms: (x [N, H, W, in], dy [N, H + K - 1, W + K - 1, out], K) -> [K, K, in, out] --------------------------------


def padded(x: tf.Tensor, dy: tf.Tensor, size: int) -> tf.Tensor:
    """Gradient of a VALID convolution of the padded image."""
    pad = size - 1
    x = tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
    shape = [size, size, x.shape[3], dy.shape[3]]
    return tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=shape, out_backprop=dy, strides=[1, 1, 1, 1], padding="VALID"
    )


def transposed(x: tf.Tensor, dy: tf.Tensor, size: int) -> tf.Tensor:
    """Gradient of the transpose of a VALID convolution from dy's size to x's: nothing is padded."""
    shape = [size, size, dy.shape[3], x.shape[3]]
    gradient = tf.raw_ops.Conv2DBackpropFilter(
        input=dy, filter_sizes=shape, out_backprop=x, strides=[1, 1, 1, 1], padding="VALID"
    )
    return tf.transpose(tf.reverse(gradient, [0, 1]), [0, 1, 3, 2])


def products(x: tf.Tensor, dy: tf.Tensor, size: int) -> tf.Tensor:
    """One matrix product per tap, over shifted views of dy."""
    taps = [tf.einsum("nhwi,nhwo->io", x, view) for view in _views(x, dy, size)]
    return tf.reshape(tf.stack(taps), [size, size, x.shape[3], dy.shape[3]])


def gathered(x: tf.Tensor, dy: tf.Tensor, size: int) -> tf.Tensor:
    """One matrix product of x and all shifted views of dy, side by side."""
    gradient = tf.einsum("nhwi,nhwo->io", x, tf.concat(_views(x, dy, size), axis=3))
    gradient = tf.reshape(gradient, [x.shape[3], size, size, dy.shape[3]])
    return tf.transpose(gradient, [1, 2, 0, 3])


def _views(x: tf.Tensor, dy: tf.Tensor, size: int) -> list[tf.Tensor]:
    """Return, for each tap, the part of dy that multiplies x."""
    height, width = x.shape[1:3]
    starts = [(size - 1 - i, size - 1 - j) for i in range(size) for j in range(size)]
    return [dy[:, top : top + height, left : left + width] for top, left in starts]


FORMS: dict[str, Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]] = {
    "padded": padded,
    "transposed": transposed,
    "products": products,
    "gathered": gathered,
}

# --- Shapes -----------------------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """A layer's convolution."""

    name: str
    batch: int
    side: int
    fan_in: int
    fan_out: int
    dtype: str
    size: int = 3

    @property
    def output_side(self) -> int:
        """Side of the output."""
        return self.side + self.size - 1


#: Layers with slow kernels in profiles on an H200: (resolution, channel_base, batch, layers).
LAYERS = ((256, 16384, 8, (2, 8, 11, 13)), (1024, 32768, 4, (13,)))


def shapes() -> Iterator[Shape]:
    """Yield the shapes of LAYERS of config T."""
    for resolution, channel_base, batch, layers in LAYERS:
        config = cast(GeneratorConfig, generator_preset("stylegan3-t", resolution, channel_base=channel_base))
        plan = plan_synthesis(config)
        for index in layers:
            layer = plan.layers[index]
            dtype = "float16" if layer.low_precision else "float32"
            yield Shape(
                f"t{resolution}_L{index}",
                batch,
                longer_side(layer.in_size),
                layer.in_channels,
                layer.out_channels,
                dtype,
            )


# --- Prediction for an H200 -------------------------------------------------------------------------------------------

COPY_RATE = 4.25e12  # bytes/s, measured; matrix products are assumed to reach half of the matrix rate
PRODUCT_RATE = {"float16": 0.5 * 989e12, "float32": 0.5 * 495e12}  # FLOP/s; float32 as TF32


def predicted_ms(shape: Shape, form: str) -> float:
    """Return the longer time of arithmetic and memory traffic. A form that gathers writes and reads what it gathers."""
    size_of = tf.as_dtype(shape.dtype).size
    x = shape.batch * shape.side**2 * shape.fan_in * size_of
    dy = shape.batch * shape.output_side**2 * shape.fan_out * size_of
    taps = shape.size**2
    traffic = {
        "padded": 3 * x + dy,
        "transposed": x + dy,
        "products": taps * (x + dy),
        "gathered": x + (1 + 2 * taps) * dy,
    }[form]
    flop = 2 * taps * shape.batch * shape.side**2 * shape.fan_in * shape.fan_out
    return max(flop / PRODUCT_RATE[shape.dtype], traffic / COPY_RATE) * 1e3


# --- Export -----------------------------------------------------------------------------------------------------------


def export(programs: ProgramSet, shape: Shape, form: str) -> None:
    """Export one form for one shape."""
    x = tf.zeros([shape.batch, shape.side, shape.side, shape.fan_in], shape.dtype)
    dy = tf.zeros([shape.batch, shape.output_side, shape.output_side, shape.fan_out], shape.dtype)
    exported = stablehlo.export(lambda x, dy: FORMS[form](x, dy, shape.size), x, dy, backend="matmul")
    arguments = tuple(
        Argument(shape=tuple(value.shape), seed=seed, scale=1.0, dtype=shape.dtype)
        for seed, value in enumerate((x, dy))
    )
    labels = {"form": form, "layer": shape.name, "predicted_ms": f"{predicted_ms(shape, form):.3f}"}
    programs.add(Entry(f"weight_gradient_{shape.name}_{form}", 1, arguments, labels=labels), exported.text)


def main() -> None:
    """Export all forms for all shapes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the programs")
    args = parser.parse_args()
    programs = ProgramSet(args.out)
    for shape in shapes():
        for form in FORMS:
            export(programs, shape, form)
            print(shape, form, f"{predicted_ms(shape, form):.3f} ms predicted", flush=True)
    programs.save()


if __name__ == "__main__":
    main()
