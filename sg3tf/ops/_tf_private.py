"""Private names of TensorFlow that the library uses; tests/sg3tf/ops/test_tf_private.py has a test for each.

None of them has a public counterpart. trainer/_tf_private.py and serving/stock_loader.py use others.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.eager import record
from tensorflow.python.ops import control_flow_util


def in_xla_context() -> bool:
    """Return True while tracing a graph that XLA will compile."""
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def is_recorded(tensors: Sequence[tf.Tensor]) -> bool:
    """Return True if a gradient tape records operations on these tensors."""
    return record.should_record_backprop(tensors)


def optimization_barrier(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return the same tensors, which XLA materializes before their consumers. For compiled functions only."""
    return list(gen_xla_ops.xla_optimization_barrier(tensors))
