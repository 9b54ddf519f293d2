"""The ways in which TensorFlow runs a function, all of which must give the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tests.helpers.numerics import Array

Function = Callable[[tf.Tensor], Sequence[tf.Tensor]]

CONTEXTS = ("eager", "graph", "jit_compile", "dynamic batch", "SavedModel")


def run(
    context: str, function: Function, x: Array, folder: Path, variables: Sequence[keras.Variable] = ()
) -> list[Array]:
    """Return function(x) in one of CONTEXTS; a SavedModel is written into `folder`, with the given variables."""
    any_batch = [tf.TensorSpec([None, *x.shape[1:]], x.dtype)]
    if context == "graph":
        function = tf.function(function)
    elif context == "jit_compile":
        function = tf.function(function, jit_compile=True)
    elif context == "dynamic batch":
        function = tf.function(function, input_signature=any_batch)
    elif context == "SavedModel":
        module = tf.Module()
        module.kept = [variable.value for variable in variables]
        module.function = tf.function(function, input_signature=any_batch)
        tf.saved_model.save(module, str(folder))
        loaded = tf.saved_model.load(str(folder))  # its variables live as long as it does
        function = loaded.function
    else:
        assert context == "eager"
    return [np.asarray(y) for y in function(tf.constant(x))]


def compiles(function: Function, x: Array) -> bool:
    """Return True if the graph of `function` contains parts that only XLA can run."""
    definition = tf.function(function).get_concrete_function(tf.constant(x)).graph.as_graph_def()
    return any(f.attr["_XlaMustCompile"].b for f in definition.library.function)
