"""Output of --dry_run."""

from __future__ import annotations

import dataclasses
import re

import pytest
import tensorflow as tf

import sg3tf
from tests.helpers.tiny_run import PLAIN
from trainer import dry_run
from trainer.state import TrainState

OPTIONS = dataclasses.replace(PLAIN, cbase=256, cmax=16, kimg=8.0, label_dim=3, cond=True)


@pytest.mark.parametrize("cfg", ["stylegan3-t", "stylegan2"])
def test_tables_count_all_variables(cfg):
    options = dataclasses.replace(OPTIONS, cfg=cfg)
    text = dry_run.describe(options, 2)
    totals = [[int(n.replace(",", "")) for n in line.split()[1:]] for line in text.splitlines() if line[:5] == "total"]
    state = TrainState(options)
    counted = [
        [sum(v.value.numpy().size for v in side) for side in (model.trainable_variables, model.non_trainable_variables)]
        for model in (state.G, state.D)
    ]
    if cfg == "stylegan2":  # the constant input belongs to the network, not to a layer
        counted[0][0] -= 4 * 4 * 16
    assert totals == counted
    assert options.to_json() in text


def test_types_and_shapes():
    lines = dry_run.describe(dataclasses.replace(OPTIONS, precision="bf16"), 1).splitlines()
    fromrgb = next(line for line in lines if line.startswith("fromrgb"))
    assert re.sub(" +", " ", fromrgb) == "fromrgb 64 0 16 x 16 x 16 bfloat16"
    assert next(line for line in lines if line.startswith("mapping")).endswith("float32")


def test_tracing_leaves_the_layers_as_they_were():
    D = sg3tf.Discriminator(OPTIONS.discriminator())
    rows, bytes_of_outputs = dry_run.trace(D, tf.zeros([1, 16, 16, 3]), label=tf.zeros([1, 3]))
    assert len(rows) > 5 and bytes_of_outputs > 4 * 16 * 16 * 16
    assert [layer.name for layer in D.layers if "call" in vars(layer)] == []


def test_steps_and_memory():
    text = dry_run.describe(OPTIONS, 2)
    assert "steps: 250 of 32 images on 2 devices\n" in text
    assert "epochs: 125.0 of 64 images" in text
    resumed = dry_run.describe(OPTIONS, 2, 6000)  # of 8000
    assert "steps: 63 of 32 images on 2 devices, after 6 kimg\n" in resumed and "epochs: 31.2 of 64 images" in resumed
    small, large = (
        float(
            re.search(r"per device: ([\d.]+) GB", dry_run.describe(dataclasses.replace(OPTIONS, cbase=b, cmax=512), 1))[
                1
            ]
        )
        for b in (256, 16384)
    )
    assert 0.7 <= small < large
    assert "accumulated over 2 parts each" in dry_run.describe(OPTIONS, 1)
