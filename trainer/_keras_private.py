"""Private names of Keras that training uses; tests/trainer/test_keras_private.py has a test for each."""

from __future__ import annotations

from typing import Any

import keras


class PresummedOptimizer(keras.optimizers.Optimizer):
    """Optimizer for gradients that are already summed over replicas, so that their norm can be measured first."""

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars

    def index(self, variable: Any) -> int:
        """Position of a variable among those that the optimizer was built with."""
        return int(self._get_variable_index(variable))
