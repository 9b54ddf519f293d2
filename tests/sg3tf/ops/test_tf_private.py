"""Private names of TensorFlow and Keras: each still exists and does what the project needs, and no others are used."""

from __future__ import annotations

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from sg3tf.ops import _tf_private
from tests.helpers import keras_private

ROOT = Path(__file__).parents[3]
FOLDERS = ("sg3tf", "trainer", "serving", "custom_ops", "benchmarks", "examples", "tests")
# Their packages of generated protocol buffers are the only way to those messages.
PUBLIC = ("tensorflow.core",)
ALLOWED = {
    "sg3tf/ops/_tf_private.py": {"control_flow_util", "record", "gen_xla_ops"},
    # tests/trainer/test_distribution.py has its test.
    "trainer/_tf_private.py": {"coordination_config_pb2", "context"},
    # It runs where the project cannot be imported; tests/serving has its test.
    "serving/stock_loader.py": {"op_def_registry"},
    "tests/serving/test_saved_model.py": {"op_def_registry"},
    # Which operations have kernels for GPUs; tests/trainer/test_gpu_placement.py fails where these have changed.
    "tests/helpers/gpu_placement.py": {"function_def_to_graph", "kernels"},
    # Two devices in each of two workers, which only GPUs can be otherwise; tests/trainer/test_distribution.py runs it.
    "tests/helpers/agreeing_worker.py": {"collective_all_reduce_strategy"},
}
# Two of Keras, in tests/helpers/keras_private.py and trainer/_keras_private.py; one of TensorFlow's Trackable, in
# sg3tf/models/_tf_private.py; of TensorFlow's graphs, in gpu_placement.py; and of ctypes (a type in annotations), named
# tuples, os, pickle and PyTorch.
FOREIGN_ATTRIBUTES = {
    *("_flatten_layers", "_get_variable_index", "_get_function", "_track_trackable"),
    *("_Pointer", "_exit", "_Pickler", "_replace", "_sleep"),
}


def private_imports(source: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            modules = [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [(f"{node.module}.", alias.name) for alias in node.names]
        else:
            continue
        for module, name in modules:
            if module.startswith(("tensorflow.", "keras.src")) and not module.startswith(PUBLIC):
                names.add(name)
    return names


def test_private_modules_are_imported_in_one_place_only() -> None:
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if names := private_imports(path):
                found[path.relative_to(ROOT).as_posix()] = names
    assert found == ALLOWED


def test_no_other_private_attributes_are_used() -> None:
    """Attributes that begin with an underscore are defined in this repository, or listed in FOREIGN_ATTRIBUTES."""
    defined: set[str] = set()
    used: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    defined.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    defined.add(node.id)
                elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                    if isinstance(node.ctx, ast.Store):
                        defined.add(node.attr)
                    used.setdefault(node.attr, f"{path.relative_to(ROOT)}:{node.lineno}")
    foreign = {name: place for name, place in used.items() if name not in defined}
    assert foreign.keys() == FOREIGN_ATTRIBUTES, foreign


def test_in_xla_context() -> None:
    seen = []

    def function(x: tf.Tensor) -> tf.Tensor:
        seen.append(_tf_private.in_xla_context())
        return x

    assert not _tf_private.in_xla_context()
    tf.function(function)(1.0)
    tf.function(function, jit_compile=True)(1.0)
    inner = tf.function(function)
    tf.function(lambda x: inner(x + 1), jit_compile=True)(tf.constant(1.0))
    assert seen == [False, True, True]


def test_is_recorded() -> None:
    x, y = tf.constant(1.0), tf.constant(2.0)
    assert not _tf_private.is_recorded([x, y])
    with tf.GradientTape() as tape:
        assert not _tf_private.is_recorded([x, y])
        tape.watch(y)
        assert _tf_private.is_recorded([x, y]) and not _tf_private.is_recorded([x])
        with tape.stop_recording():
            assert not _tf_private.is_recorded([y])


@pytest.mark.parametrize("count", [1, 3])
def test_optimization_barrier(count: int) -> None:
    x = [tf.fill([2], float(i)) for i in range(count)]
    function = tf.function(lambda *x: _tf_private.optimization_barrier([i + 1 for i in x]), jit_compile=True)
    for i, y in enumerate(function(*x)):
        np.testing.assert_array_equal(y, [i + 1, i + 1])
    assert "opt-barrier" in function.experimental_get_compiler_ir(*x)(stage="hlo")


def test_keras_flatten_layers() -> None:
    inner = keras.layers.Dense(1)
    model = keras.Sequential([keras.Sequential([inner]), keras.layers.ReLU()])
    assert inner in keras_private.flatten_layers(model) and len(keras_private.flatten_layers(model)) == 4
