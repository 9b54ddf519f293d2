"""Private names of TensorFlow: checkpoints of it include layers in lists."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import sg3tf
from sg3tf.models.layers import MappingNetwork

SIZE = {"resolution": 16, "channel_base": 64, "channel_max": 4}
MODELS = {
    "stylegan3-t": lambda: sg3tf.Generator.from_preset("stylegan3-t", z_dim=4, w_dim=4, label_dim=2, **SIZE),
    "stylegan2": lambda: sg3tf.Generator.from_preset("stylegan2", z_dim=4, w_dim=4, **SIZE),
    "stylegan1": lambda: sg3tf.Generator.from_preset("stylegan1", z_dim=4, w_dim=4, **SIZE),
    "D": lambda: sg3tf.Discriminator.from_preset("stylegan3-t", label_dim=2, **SIZE),
}


@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_hold_all_weights(name: str, tmp_path: Path) -> None:
    saved, restored = MODELS[name](), MODELS[name]()
    for i, variable in enumerate(saved.variables):
        variable.assign(np.full(variable.shape, i))
    path = tf.train.Checkpoint(model=saved).save(str(tmp_path / "state"))
    status = tf.train.Checkpoint(model=restored).restore(path)
    status.assert_consumed()
    status.assert_existing_objects_matched()
    for one, other in zip(saved.variables, restored.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)


def test_a_layer_outside_of_the_models(tmp_path: Path) -> None:
    def make() -> keras.Model:
        z = keras.Input([4])
        return keras.Model(z, MappingNetwork(4, 0, 5, 2)(z))

    saved, restored = make(), make()
    path = tf.train.Checkpoint(model=saved).save(str(tmp_path / "state"))
    tf.train.Checkpoint(model=restored).restore(path).assert_consumed()
    z = np.ones([1, 4], np.float32)
    np.testing.assert_array_equal(saved(z), restored(z))
