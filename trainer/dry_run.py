"""--dry_run: what a run would be, without making anything."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from sg3tf import Discriminator, build_generator
from trainer import defaults
from trainer.config import Options

GIGA = 1e9
PROGRAM_GB = 0.7  # TensorFlow itself
#: For every number that a layer gives out, so many are held until its gradient: inputs scaled, padded, filtered.
#: Fitted, as is PROGRAM_GB, to the peaks of T-32, T-64 and R-64 that benchmarks.train_bench measured: within 5 %.
HELD_PER_OUTPUT = 6

#: (name, parameters, other variables, shape of the output, its type)
Row = tuple[str, int, int, str, str]


def describe(options: Options, replicas: int) -> str:
    """The resolved options, the networks layer by layer, an estimate of the memory, and the number of steps."""
    G = build_generator(options.generator(), dtype=options.policy)
    D = Discriminator(options.discriminator(), dtype=options.policy)
    z, label = tf.zeros([1, G.config.z_dim]), tf.zeros([1, options.label_dim])
    image = tf.zeros([1, options.resolution, options.resolution, options.image_channels])
    g_rows, g_bytes = trace(G, {"z": z, "label": label})
    d_rows, d_bytes = trace(D, image, label=label)
    return "\n".join(
        [
            options.to_json(),
            *table("G", g_rows),
            *table("D", d_rows),
            *_memory(options, G.count_params(), D.count_params(), g_bytes + d_bytes),
            *_steps(options, replicas),
            *_warnings(options),
            "",
        ]
    )


def trace(model: keras.Model, *inputs: Any, **more: Any) -> tuple[list[Row], int]:
    """A row for every layer in the order of their work, and the bytes of all their outputs for one image."""
    outputs: dict[str, tf.TensorSpec] = {}

    def noting(layer: keras.layers.Layer) -> None:
        plain = layer.call

        def call(*args: Any, **kwargs: Any) -> tf.Tensor:
            y = plain(*args, **kwargs)
            outputs.setdefault(layer.name, tf.TensorSpec(y.shape, y.dtype))
            return y

        layer.call = call

    for layer in model.layers:
        noting(layer)
    tf.function(lambda: model(*inputs, **more), autograph=False).get_concrete_function()
    by_name = {layer.name: layer for layer in model.layers}
    rows = [_row(name, by_name[name], spec) for name, spec in outputs.items()]
    return rows, sum(math.prod(spec.shape) * spec.dtype.size for spec in outputs.values())


def _row(name: str, layer: keras.layers.Layer, output: tf.TensorSpec) -> Row:
    trained = sum(math.prod(v.shape) for v in layer.trainable_variables)
    others = sum(math.prod(v.shape) for v in layer.non_trainable_variables)
    return name, trained, others, " x ".join(map(str, output.shape[1:])), output.dtype.name


def table(title: str, rows: list[Row]) -> list[str]:
    """Lines of text."""
    total = ("total", sum(row[1] for row in rows), sum(row[2] for row in rows), "", "")
    lines = [f"{title:<16}{'parameters':>12}{'others':>10}  {'output':<18}type"]
    return lines + [f"{n:<16}{p:>12,}{o:>10,}  {shape:<18}{dtype}" for n, p, o, shape, dtype in (*rows, total)] + [""]


def _memory(options: Options, g_params: int, d_params: int, bytes_per_image: int) -> list[str]:
    # G, D and G_ema; a gradient and Adam's two moments of the first two.
    weights = 4 * (5 * g_params + 4 * d_params) / GIGA
    activations = HELD_PER_OUTPUT * bytes_per_image * options.batch_per_replica / GIGA
    total = PROGRAM_GB + weights + activations
    return [
        f"memory of a device, estimated: {total:.1f} GB, of which weights and optimizers {weights:.2f}, "
        f"{options.batch_per_replica} images at a time {activations:.2f} (halve with --batch_per_replica)",
    ]


def _steps(options: Options, replicas: int) -> list[str]:
    steps = math.ceil(options.kimg * 1000 / options.batch)
    accumulation = options.num_accumulation_steps(replicas)
    return [
        f"steps: {steps:,} of {options.batch} images on {replicas} device{'s'[: replicas > 1]}"
        + (f", accumulated over {accumulation} parts each" if accumulation > 1 else ""),
        f"epochs: {options.kimg * 1000 / options.num_images:.1f} of {options.num_images:,} images",
    ]


def _warnings(options: Options) -> list[str]:
    warning = defaults.gamma_warning(options.gamma, options.cfg, options.resolution, options.batch)
    return [f"warning: {warning}"] if warning else []
