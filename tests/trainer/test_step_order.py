"""The host's part of a training step, which runs where TensorFlow is not installed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import tensorflow as tf

from trainer.inputs import DiscriminatorInputs, FakeInputs, Latents, RealInputs, View, map_arrays, named_arrays

IMPORTS = """
import sys


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras", "google", "absl"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Missing())
import sg3tf.data.sampler, trainer.augment.heuristics, trainer.schedule, trainer.step_order
"""

LATENTS = Latents(z=np.zeros([2, 4]), label=np.ones([2, 0]), noise=np.full([2, 2], 2))
FAKE = FakeInputs(LATENTS, View(augment_params=np.full([2, 3], 3), augment_p=np.full([2], 4)))
INPUTS = DiscriminatorInputs(RealInputs(np.full([2, 8, 8, 3], 5), np.full([2, 0], 6), View()), FAKE)


def test_imports_without_tensorflow():
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def test_arrays_are_named_in_the_order_of_tensorflow():
    named = named_arrays(INPUTS)
    assert list(named) == [
        *("real.images", "real.label", "fake.latents.z", "fake.latents.label", "fake.latents.noise"),
        *("fake.view.augment_params", "fake.view.augment_p"),
    ]
    for mine, other in zip(named.values(), tf.nest.flatten(INPUTS), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_function_of_every_array():
    halves = map_arrays(lambda array: array[:1] + 1, INPUTS)
    for before, after in zip(named_arrays(INPUTS).values(), named_arrays(halves).values(), strict=True):
        np.testing.assert_array_equal(after, before[:1] + 1)
    assert halves.fake.latents.mix_z is None
