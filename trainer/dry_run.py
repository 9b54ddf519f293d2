"""Description of a run before it starts: --dry_run."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from sg3tf import Discriminator, build_generator
from sg3tf.models import power_ema
from sg3tf.models.layer_outputs import record_outputs
from sg3tf.utils.resolution import image_shape
from trainer.config import Options

GIGA = 1e9
PROGRAM_GB = 0.7  # TensorFlow itself
#: Numbers kept for the backward pass, per number in a layer's output: scaled, padded and filtered inputs.
#: Like PROGRAM_GB, fitted to the peaks of T-32, T-64 and R-64 measured by benchmarks.train_bench, within 5 %.
HELD_PER_OUTPUT = 6


class Row(NamedTuple):
    """Row of the table: a layer of a network."""

    name: str
    parameters: int
    other_variables: int
    output_shape: str
    output_type: str


def describe(options: Options, replicas: int, cur_nimg: int = 0) -> str:
    """Describe the options, the networks layer by layer, the estimated memory, and the number of steps.

    Args:
        options: options of the run.
        replicas: number of devices, across all workers.
        cur_nimg: images that the run to resume has seen.
    """
    G = build_generator(options.generator(), dtype=options.policy)
    D = Discriminator(options.discriminator(), dtype=options.policy)
    z, label = tf.zeros([1, G.config.z_dim]), tf.zeros([1, options.label_dim])
    image = tf.zeros([1, *image_shape(options.resolution, options.image_channels)])
    g_rows, g_bytes = trace(G, {"z": z, "label": label})
    d_rows, d_bytes = trace(D, image, label=label)
    return "\n".join(
        [
            options.to_json(),
            *table("G", g_rows),
            *table("D", d_rows),
            *_memory(options, G.count_params(), D.count_params(), g_bytes + d_bytes),
            *_steps(options, replicas, cur_nimg),
            *options.warnings,
            "",
        ]
    )


def trace(model: keras.Model, *inputs: Any, **more: Any) -> tuple[list[Row], int]:
    """Trace a call of `model` for one image.

    Returns:
        A row for every layer, in the order of calls, and the total bytes of their outputs.
    """
    with record_outputs(model.layers) as outputs:
        tf.function(lambda: model(*inputs, **more), autograph=False).get_concrete_function()
    by_name = {layer.name: layer for layer in model.layers}
    rows = [_row(by_name[name], output) for name, output in outputs.items()]
    return rows, sum(math.prod(output.shape) * output.dtype.size for output in outputs.values())


def _row(layer: keras.layers.Layer, output: tf.Tensor) -> Row:
    parameters = sum(math.prod(v.shape) for v in layer.trainable_variables)
    others = sum(math.prod(v.shape) for v in layer.non_trainable_variables)
    return Row(layer.name, parameters, others, " x ".join(map(str, output.shape[1:])), output.dtype.name)


def table(title: str, rows: list[Row]) -> list[str]:
    """Lines of text: a heading, a line for each of `rows`, and their total."""
    total = Row("total", sum(row.parameters for row in rows), sum(row.other_variables for row in rows), "", "")
    lines = [f"{title:<16}{'parameters':>12}{'others':>10}  {'output':<18}type"]
    for row in [*rows, total]:
        counts = f"{row.parameters:>12,}{row.other_variables:>10,}"
        lines.append(f"{row.name:<16}{counts}  {row.output_shape:<18}{row.output_type}")
    return [*lines, ""]


def _memory(options: Options, g_params: int, d_params: int, bytes_per_image: int) -> list[str]:
    # G, D and the averages of G; gradients and Adam's velocities of G and D.
    averages = 1 + len(power_ema.TRACKED) * options.posthoc_ema
    weights = 4 * ((3 + averages) * g_params + 3 * d_params) / GIGA
    activations = HELD_PER_OUTPUT * bytes_per_image * options.batch_per_replica / GIGA
    total = PROGRAM_GB + weights + activations
    return [
        f"estimated memory per device: {total:.1f} GB, of which weights and optimizers {weights:.2f}, "
        f"{options.batch_per_replica} images at a time {activations:.2f} (halve with --batch_per_replica)",
    ]


def _steps(options: Options, replicas: int, cur_nimg: int) -> list[str]:
    nimg = max(options.kimg * 1000 - cur_nimg, 0)
    steps = math.ceil(nimg / options.batch)
    devices = "1 device" if replicas == 1 else f"{replicas} devices"
    line = f"steps: {steps:,} of {options.batch} images on {devices}"
    accumulation_steps = options.num_accumulation_steps(replicas)
    if accumulation_steps > 1:
        line += f", accumulated over {accumulation_steps} parts each"
    if cur_nimg:
        line += f", after {cur_nimg / 1000:g} kimg"
    epochs = nimg / options.num_images
    return [line, f"epochs: {epochs:.1f} of {options.num_images:,} images"]
