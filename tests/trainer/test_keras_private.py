"""Private names of Keras: they exist, and Keras calls them as training assumes."""

from __future__ import annotations

import keras
import numpy as np

from trainer._keras_private import PresummedOptimizer
from trainer.adam import Adam


def test_optimizers_sum_gradients_over_replicas_in_this_method(monkeypatch):
    name, calls = "_all_reduce_sum_gradients", []
    plain = getattr(keras.optimizers.Optimizer, name)
    monkeypatch.setattr(keras.optimizers.Optimizer, name, lambda self, pairs: calls.append(pairs) or plain(self, pairs))
    variable = keras.Variable(np.ones([2], np.float32))
    for optimizer, count in ((keras.optimizers.Adam(0.1), 1), (Adam(0.1), 0)):
        calls.clear()
        optimizer.apply([keras.ops.ones([2])], [variable])
        assert len(calls) == count


def test_variables_have_the_index_with_which_an_optimizer_was_built():
    optimizer, variables = PresummedOptimizer(0.1), [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer.build(variables)
    assert [optimizer.index(variable) for variable in variables] == [0, 1]
    assert [optimizer.index(variable.value) for variable in variables] == [0, 1]
