"""The phases of training on a GPU: every operation has a kernel there, and no tensor goes to the host and back.

Without a GPU: by the kernels that TensorFlow's wheel registers, see tests/helpers/gpu_placement.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from sg3tf.ops import native, use_backend
from sg3tf.ops.backend import training_backend
from tests.helpers import gpu_placement, tiny_run
from trainer.random_inputs import LabelArray, RandomInputs
from trainer.state import TrainState
from trainer.step import TrainStep

ROTATING_LABELS = np.eye(3, dtype=np.float32)[np.arange(64) % 3]
#: Loops over images count on the host; StyleGAN2's noise and that of --augpipe=bgcfnc are drawn in such loops, from one
#: seed of two numbers for each image.
LOOPS = {
    ("Less", "LogicalAnd"),
    ("Bitcast", "Pack"),
    ("Pack", "TensorListFromTensor"),
    ("StridedSlice", "TensorListFromTensor"),
}
SCALAR_BYTES = 64  # a shape, a counter or a seed


def phase_graphs(resolution, **options):
    """Return {phase: graph} of a training step in float16."""
    sizes = {
        "resolution": resolution,
        "cbase": 256,
        "cmax": 16,
        "batch": 4,
        "batch_per_replica": 4,
        "label_dim": 3,
        "cond": True,
    }
    chosen = dataclasses.replace(tiny_run.PLAIN, precision="fp16", p=0.5, **sizes, **options)
    state = TrainState(chosen)
    random_inputs = RandomInputs(LabelArray(ROTATING_LABELS), chosen.batch, chosen.generator().z_dim, seed=0)
    step = TrainStep(state, chosen, tf.distribute.get_strategy(), random_inputs)
    inputs = {}

    def noting(name):
        return lambda arrays: inputs.update({name: arrays}) or {f"Loss/{name}": tf.constant([1.0, 1.0, 1.0])}

    step._phases = {name: noting(name) for name in step._phases}
    step._update_ema = lambda decay: None
    step.run((np.zeros([4, resolution, resolution, 3], np.uint8), ROTATING_LABELS[:4]))
    graphs = {}
    with use_backend(training_backend()):
        for name, arrays in inputs.items():
            tensors = tf.nest.map_structure(tf.constant, arrays)
            graphs[name] = tf.function(step.replica_steps[name]).get_concrete_function(tensors).graph
    return graphs


def examine(monkeypatch, **options):
    native.require()  # which with a GPU would ask for its compiler
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [f"a {kind}"])
    placements = {name: gpu_placement.examine(graph) for name, graph in phase_graphs(**options).items()}
    assert all(p.operations > 500 for p in placements.values())  # there is something to judge
    return placements


@pytest.mark.slow  # traces three phases: 20 s
def test_phases_of_config_t_stay_on_the_device(monkeypatch):
    placements = examine(monkeypatch, resolution=32, cfg="stylegan3-t", aug="fixed")
    assert set(placements) == {"G", "D", "R1"}
    for placement in placements.values():
        assert placement.without_kernel == {}
        assert placement.crossings == []


@pytest.mark.slow  # traces four phases: 30 s
def test_only_small_tensors_of_loops_leave_the_device_in_stylegan2(monkeypatch):
    placements = examine(monkeypatch, resolution=16, cfg="stylegan2", aug="fixed", augpipe="bgcfnc", pl_weight=2.0)
    assert set(placements) == {"G", "PL", "D", "R1"}
    for placement in placements.values():
        assert placement.without_kernel == {}
        assert {(c.producer, c.consumer) for c in placement.crossings} <= LOOPS
        assert all(c.num_bytes <= SCALAR_BYTES for c in placement.crossings)


def test_crossings_and_missing_kernels_are_found():
    """Arithmetic of int32 is on the host, as is an operation that has no kernel for GPUs."""

    @tf.function
    def rounded_up(x, name):
        halves = tf.cast(x, tf.int32) // 2
        return tf.gather(x, halves), tf.strings.length(name)

    spec = tf.TensorSpec([1000], tf.float32), tf.TensorSpec([], tf.string)
    placement = gpu_placement.examine(rounded_up.get_concrete_function(*spec).graph)
    ways = {(c.producer, c.consumer, c.to_host, c.num_bytes) for c in placement.crossings}
    assert ways >= {("Cast", "FloorDiv", True, 4000), ("FloorDiv", "GatherV2", False, 4000)}
    assert placement.without_kernel == {"StringLength": 1}


def test_shapes_known_beforehand_are_no_copies():
    @tf.function
    def flat(x):
        return tf.reshape(x, [tf.shape(x)[0] * tf.shape(x)[1], -1])

    spec = tf.TensorSpec([4, 5, 6], tf.float32)
    assert gpu_placement.examine(flat.get_concrete_function(spec).graph).crossings == []
