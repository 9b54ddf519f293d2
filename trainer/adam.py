"""Adam as StyleGAN uses it: without momentum (arXiv 1412.6980, algorithm 1, with a first decay of 0)."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from trainer._keras_private import PresummedOptimizer

BETA2 = 0.99
EPSILON = 1e-8


class Adam(PresummedOptimizer):
    """Adam without momentum, for gradients that are already summed over replicas.

    With g the gradient of a variable theta, and t the number of its updates, including this one:

        v <- beta_2 v + (1 - beta_2) g^2
        theta <- theta - learning_rate * g / (sqrt(v / (1 - beta_2^t)) + epsilon)

    keras.optimizers.Adam adds epsilon to sqrt(v) instead, which makes it 1 / sqrt(1 - beta_2^t) times as large, and has
    one t for all variables. Here, variables that are not passed to `apply` keep their value, v and t.

    Args:
        learning_rate: learning rate.
        beta_2: decay of the mean squared gradient.
        epsilon: added to the denominator.

    Examples:
        >>> weight = tf.Variable([1.0])
        >>> optimizer = Adam(0.1, beta_2=0.99)
        >>> optimizer.apply([tf.constant([1e-8])], [weight])  # a gradient as small as epsilon: half a step
        >>> weight.numpy()
        array([0.95], dtype=float32)
    """

    def __init__(self, learning_rate: float, beta_2: float = BETA2, epsilon: float = EPSILON) -> None:
        super().__init__(learning_rate, name="adam")
        self.beta_2, self.epsilon = beta_2, epsilon

    def build(self, variables: list[Any]) -> None:
        """Create a velocity for each of `variables`, and one vector with their numbers of updates."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        self.counts = self.add_variable(
            [len(variables)], dtype="int64", aggregation="only_first_replica", name="counts"
        )

    def apply(self, grads: list[tf.Tensor], trainable_variables: list[Any]) -> None:
        """Update `trainable_variables` and their counts; the optimizer's other variables stay as they are."""
        self.build(trainable_variables)
        updated = {self.index(variable) for variable in trainable_variables}
        self.counts.assign_add([int(index in updated) for index in range(len(self.velocities))])
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Update one variable, whose count already includes this update."""
        index = self.index(variable)
        velocity = self.velocities[index]
        count = tf.cast(tf.convert_to_tensor(self.counts)[index], variable.dtype)
        # 1 - beta_2^t without cancellation, which would cost two digits in the first updates.
        correction = -tf.math.expm1(count * math.log(self.beta_2))
        self.assign_add(velocity, (tf.square(gradient) - velocity) * (1 - self.beta_2))
        root = tf.sqrt(tf.convert_to_tensor(velocity) / correction)
        self.assign_sub(variable, tf.cast(learning_rate, variable.dtype) * gradient / (root + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_2": self.beta_2, "epsilon": self.epsilon}


def lazy_adam(learning_rate: float, interval: int | None, accumulation_steps: int = 1) -> Adam:
    """Adam adapted to lazy regularization (arXiv 1912.04958, appendix B).

    Args:
        learning_rate: learning rate without lazy regularization.
        interval: steps between regularizations, each of which is an additional update; None without.
        accumulation_steps: parts of a batch. The published loop adds up the means over the parts. Here the gradient is
            that of the mean over the whole batch. Dividing epsilon by the number of parts gives the same updates.
    """
    share = 1.0 if interval is None else interval / (interval + 1)
    return Adam(learning_rate * share, BETA2**share, EPSILON / accumulation_steps)
