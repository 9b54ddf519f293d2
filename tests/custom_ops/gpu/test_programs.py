"""The project's networks as programs that JAX runs, against TensorFlow: the chain that measures on GPUs."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from custom_ops.gpu import run_programs
from custom_ops.gpu.export_programs import Exporter, programs
from custom_ops.gpu.networks import NETWORKS, pixels
from custom_ops.gpu.pjrt import register_handlers
from custom_ops.gpu.program_set import Argument, Entry, Expected, ProgramSet
from sg3tf.ops import native


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    register_handlers(native.FOLDER / native.XLA)
    return Exporter(ProgramSet(tmp_path_factory.mktemp("programs")))


# Together all phases, their second derivatives (R1, PL) and every network; "xla" where it compiles fast.
@pytest.mark.native
@pytest.mark.parametrize(
    "name",
    [
        "t32_forward_native",
        "t32_D_native",
        "t32_R1_native",
        "t32_R1_xla",
        "sg2_32_PL_native",
        "r32_G_native",
    ],
)
def test_programs_have_the_results_of_tensorflow(exporter, name):
    """Within limits that come from the results for weights perturbed by rounding (export_programs.py)."""
    exporter.export(*programs()[name])
    exporter.programs.save()
    read = ProgramSet(exporter.programs.folder)
    entry = read.entries[name]
    assert len(entry.expected) > 20 or "forward" in name
    runner = run_programs.Runner(read, repeats=1, profile=0)
    program, _ = runner.compile(entry)
    list(runner.run(entry, program))
    parts = list(runner.run(entry, program))  # with arguments that are on the device already
    assert "ok" in parts[0]  # comparisons come first
    row = {key: value for part in parts for key, value in part.items()}
    assert row["largest_error"] < 1 and row["ok"], row
    assert row["ms_per_image"] > 0 and row["memory_gb"]["arguments"] > 0


def test_every_large_network_is_exported_with_every_backend():
    names = set(programs())
    for network in ("t256", "r256", "t1024"):
        assert {f"{network}_{p}_{b}" for p in ("forward", "G", "D", "R1") for b in ("native", "xla", "matmul")} < names
        assert NETWORKS[network].dtype == "mixed_float16"


def test_images_are_drawn_and_other_inputs_stored(tmp_path):
    exporter = Exporter(ProgramSet(tmp_path))
    images, ws = pixels((2, 64, 64, 3)), np.ones([8, 16, 512], np.float32)
    assert exporter._input("images", images.value({})) == images
    assert exporter._input("ws", ws).value(exporter.programs.stored) is ws


def test_large_arguments_repeat_their_numbers():
    value = Argument(shape=(3, 2**20), seed=1, scale=2.0).value({})
    np.testing.assert_array_equal(value, value[:1].repeat(3, axis=0))
    np.testing.assert_array_equal(value[0, :5], Argument(shape=(5,), seed=1, scale=2.0).value({}))


def test_programs_that_are_not_timed_come_as_they_are_compiled():
    done = threading.Event()

    class Compiler:
        def compile(self, entry):
            if entry.name == "slow":
                assert done.wait(60)
            return entry.name, 0.0

    entries = [Entry(name, 1, ()) for name in ("slow", "fast")]
    order = []
    for entry, _ in run_programs.compiled_ahead(Compiler(), entries, jobs=2, timed=False):
        order.append(entry.name)
        done.set()
    assert order == ["fast", "slow"]


def test_a_missing_folder_of_programs_is_an_error(tmp_path):
    script = Path(run_programs.__file__).with_name("run_all.sh")
    done = subprocess.run([script, tmp_path / "out", tmp_path / "none"], capture_output=True, text=True)
    assert done.returncode == 2 and "there is no" in done.stderr


@pytest.mark.parametrize(("value", "ok"), [(1.0, True), (1.0 + 1e-4, True), (1.0 + 1e-2, False), (np.nan, False)])
def test_wrong_results_are_reported(value, ok):
    stored = {"y": np.ones([4], np.float32)}
    entry = Entry("p", 1, (), (Expected(Argument(stored="y"), limit=1e-3),))
    assert run_programs.check(entry, [np.full([4], value, np.float32)], stored)["ok"] is ok


def test_a_missing_result_is_an_error():
    entry = Entry("p", 1, (), (Expected(Argument(stored="y"), limit=1e-3),))
    with pytest.raises(ValueError, match="0 results, but 1 expected"):
        run_programs.check(entry, [], {"y": np.ones([4])})


def test_program_sets_are_read_as_they_were_written(tmp_path):
    written = ProgramSet(tmp_path / "set")
    y = written.store("y", np.float32([1, 2]))
    drawn = Argument(shape=(3, 2), seed=5, scale=0.5, dtype="float16")
    entry = Entry("p", 4, (y, drawn, Argument(shape=(2, 2), seed=1)), (Expected(y, 0.25),), {"phase": "G"})
    written.add(entry, "module {}")
    written.save()
    read = ProgramSet(tmp_path / "set")
    assert read.entries == {"p": entry} and read.text("p") == "module {}"
    first, normal, pixels = (argument.value(read.stored) for argument in read.entries["p"].arguments)
    assert first.tolist() == [1, 2] and pixels.dtype == np.uint8
    assert normal.dtype == np.float16 and np.array_equal(normal, drawn.value({}))


def test_kernels_are_summed_by_name():
    def name(kind, pid, tid, text):
        return {"ph": "M", "name": f"{kind}_name", "pid": pid, "tid": tid, "args": {"name": text}}

    def kernel(name, duration, pid=1, tid=7):
        return {"ph": "X", "name": name, "pid": pid, "tid": tid, "dur": duration, "args": {"hlo_op": name + ".1"}}

    events = [
        name("process", 1, 0, "/device:GPU:0"),
        name("thread", 1, 7, "Stream #1"),
        name("process", 2, 0, "/host:CPU"),
        name("thread", 2, 7, "Stream #1"),
        kernel("short", 1000),
        kernel("long", 2000),
        kernel("long", 5000),
        kernel("host", 9000, pid=2),
        kernel("annotation", 9000, tid=8),
        *(kernel("filtered_lrelu_mma", 100) | {"args": {"hlo_op": f"custom-call.{i}"}} for i in range(2)),
    ]
    long, short, *layers = run_programs.summarize(events, calls=2)
    assert [layer["example"]["hlo_op"] for layer in layers] == ["custom-call.0", "custom-call.1"]
    assert (long["kernel"], long["ms"], long["launches"], long["share"]) == ("long", 3.5, 1.0, 7 / 8.2)
    assert (short["kernel"], short["ms"], short["example"]) == ("short", 0.5, {"hlo_op": "short.1"})
