"""A training step of every ablation config."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.data.dataset import open_dataset
from sg3tf.data.sampler import batches
from sg3tf.models.ablations import ABLATION_PRESETS
from tests.helpers import tiny_run
from tests.helpers.eager import without_graphs
from trainer.loop import make_random_inputs
from trainer.state import TrainState
from trainer.step import TrainStep

BATCH = 4


@pytest.mark.parametrize("cfg", ABLATION_PRESETS)
def test_a_step_trains_all_weights_and_is_saved(cfg, faces, tmp_path):
    options = tiny_run.options(faces, cfg=cfg, batch=BATCH, cond=True, style_mixing=None, pl_weight=None)
    state = TrainState(options)
    dataset = open_dataset(faces, use_labels=True)
    random_inputs = make_random_inputs(options, state, dataset)
    with without_graphs():
        train_step = TrainStep(state, options, tf.distribute.get_strategy(), random_inputs)
    before = {v.path: v.numpy() for v in state.G.variables}
    metrics = train_step.run(next(batches(dataset, BATCH, seed=options.seed)))
    assert all(np.all(np.isfinite(moments)) for moments in metrics.values())
    assert ("Loss/pl_penalty" in metrics) == (cfg in ABLATION_PRESETS[:3])
    same = {v.path.partition("/")[2] for v in state.G.variables if np.array_equal(v, before[v.path])}
    fixed = {v.path.partition("/")[2] for v in state.G.non_trainable_variables}
    assert same == {path for path in fixed if not path.endswith(("w_avg", "magnitude_ema"))}
    state.save(tmp_path / "checkpoint")
    assert sg3tf.load(tmp_path / "checkpoint").config == options.generator()
