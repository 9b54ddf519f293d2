"""Private names of Keras: they exist, and Keras calls them as training assumes."""

from __future__ import annotations

import keras
import numpy as np

from trainer._keras_private import PresummedAdam


def test_optimizers_sum_gradients_over_replicas_in_this_method(monkeypatch):
    name, calls = "_all_reduce_sum_gradients", []
    plain = getattr(keras.optimizers.Adam, name)
    monkeypatch.setattr(keras.optimizers.Adam, name, lambda self, pairs: calls.append(pairs) or plain(self, pairs))
    variable = keras.Variable(np.ones([2], np.float32))
    for optimizer, count in ((keras.optimizers.Adam(0.1), 1), (PresummedAdam(0.1), 0)):
        calls.clear()
        optimizer.apply([keras.ops.ones([2])], [variable])
        assert len(calls) == count
