"""Model card of a generator: architecture, training data, metrics and intended use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sg3tf.models.provenance import Provenance
from sg3tf.utils.class_names import is_number
from sg3tf.utils.resolution import size_of
from sg3tf.version import __version__

UNKNOWN = "unknown"


def model_card(
    G: Any,
    repo: str,
    *,
    license: str,
    intended_use: str,
    provenance: Provenance,
    metrics: Mapping[str, float],
) -> str:
    """Return the text of README.md: the hub's metadata block, then Markdown.

    Args:
        G: `sg3tf.Generator`, built.
        repo: repository, USER/NAME.
        license: license identifier of the weights, such as cc-by-4.0.
        intended_use: a sentence, or "".
        provenance: result of sg3tf.models.provenance.training_provenance.
        metrics: metric values by name; {} if none are known.
    """
    c = G.config
    front = {
        "license": license,
        "library_name": "sg3tf",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["sg3tf", "keras", "tensorflow", "gan", type(G).__name__],
    }
    kimg, (width, height) = provenance.training_kimg, size_of(c.resolution)
    about = {
        "Class": f"`sg3tf.{type(G).__name__}`",
        "Images": f"{width} x {height}, {c.image_channels} channels",
        "Latents": f"{c.z_dim} numbers",
        "Labels": f"{c.label_dim} numbers" if c.label_dim else "none",
        "Parameters": f"{sum(weight.shape.num_elements() for weight in G.trainable_variables):,}",
        "Training data": provenance.data_name or UNKNOWN,
        "Digest of the training data": f"`{provenance.data_digest}`" if provenance.data_digest else UNKNOWN,
        "Training": UNKNOWN if kimg is None else f"{kimg:g} thousand images",
        "License of the weights": license,
    }
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", "", f"# {repo}", ""]
    lines += [f"A generator of images, trained with sg3tf {__version__}.", ""]
    classes, scale = provenance.classes, provenance.label_scale
    caption = _caption(c.label_dim, classes, is_standardized=scale is not None)
    lines += [f"![{caption}](samples.png)", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in about.items()]
    if classes:
        lines += ["", f"Classes, in the order of the labels: {', '.join(classes)}."]
    if scale:
        lines += ["", f"Labels are numbers, less their mean and divided by their standard deviation: {scale}."]
    lines += ["", "## Quality", ""]
    if metrics:
        lines += ["Computed during training, on the training data:", "", "| Metric | Value |", "|---|---|"]
        lines += [f"| {name} | {value:.4g} |" for name, value in sorted(metrics.items())]
    else:
        lines += ["No metric is known of these weights."]
    imports = ["import numpy as np", "import sg3tf"] if c.label_dim else ["import sg3tf"]
    lines += ["", "## Use", "", "```python", *imports, "", f'G = sg3tf.load("hf://{repo}")']
    if c.label_dim:
        single = is_number(classes, c.label_dim)
        zeros = f"label = np.zeros([1, {c.label_dim}])"
        lines += [zeros if single or scale else "label = np.eye(G.config.label_dim)[[0]]"]
        lines += ['images = G({"z": sg3tf.latents.z_from_seeds([85], G.config.z_dim), "label": label})']
    else:
        lines += ["images = G(sg3tf.latents.z_from_seeds([85], G.config.z_dim))"]
    command = f"sg3tf generate images --network=hf://{repo} --outdir=images"
    if c.label_dim:
        example = ",".join(f"{number:g}" for number in scale.mean) if scale else classes[0] if classes else "0"
        command += f" --class={shlex.quote(example)}"
    lines += [
        "```",
        "",
        f"Images are NHWC, from -1 to 1. In a shell: `{command}`.",
        "",
    ]
    lines += ["## Intended use", "", intended_use or "Not stated by the author.", ""]
    lines += ["The images show nothing that exists, and have the biases of the training data.", ""]
    return "\n".join(lines)


def _caption(label_dim: int, classes: Sequence[str], is_standardized: bool) -> str:
    """Return the caption of samples.png."""
    seeds = "Images of the seeds 0 to 15"
    if not label_dim:
        return seeds
    if is_standardized:
        return f"{seeds}, with labels of 0, the mean"
    if is_number(classes, label_dim):
        return f"{seeds}, with the label 0"
    if classes:
        return f"{seeds}, of each class in turn"
    # Unnamed classes or label vectors: the network does not record which.
    return f"{seeds}, with labels that are 1 in one place, each in turn, and else 0"
