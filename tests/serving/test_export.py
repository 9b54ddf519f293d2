"""An exported generator: stock ops only, whole versions, and the same images without the project."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

import sg3tf
from serving.saved_model import export
from serving.signatures import ServedGenerator

# What no stock server can run: ops of ours, calls back into Python, and clusters compiled ahead.
FORBIDDEN = ("Sg3>", "PyFunc", "EagerPyFunc", "Xla", "_Xla")


@pytest.fixture(scope="module")
def generator():
    tiny = {"resolution": 32, "channel_base": 512, "channel_max": 16, "z_dim": 64, "w_dim": 32}
    return sg3tf.Generator.from_preset("stylegan3-t", label_dim=3, **tiny)


@pytest.fixture(scope="module")
def version(generator, tmp_path_factory):
    return export(generator, tmp_path_factory.mktemp("export") / "sg3")


def test_versions_are_numbered_and_nothing_else_is_left(fake_generator, tmp_path):
    assert export(fake_generator, tmp_path).name == "1"
    (tmp_path / "10").mkdir()
    (tmp_path / "notes").mkdir()
    before = (tmp_path / "1" / "saved_model.pb").read_bytes()
    assert export(fake_generator, tmp_path).name == "11"
    assert {entry.name for entry in tmp_path.iterdir()} == {"1", "10", "11", "notes"}
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == before


def test_a_failed_export_leaves_nothing(fake_generator, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.saved_model._describe", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(fake_generator, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_number_taken_meanwhile_is_not_overwritten(fake_generator, tmp_path, monkeypatch):
    rename = Path.rename

    def slow_rename(unfinished, version):
        if version.name == "1":
            version.mkdir()
            (version / "saved_model.pb").write_text("another exporter's")
        return rename(unfinished, version)

    monkeypatch.setattr(Path, "rename", slow_rename)
    assert export(fake_generator, tmp_path).name == "2"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "another exporter's"


def test_metadata(version, generator):
    described = json.loads((version / "assets.extra" / "sg3tf.json").read_text())
    assert described["config"]["resolution"] == 32
    assert described["num_ws"] == generator.num_ws
    assert described["versions"]["sg3tf"] == sg3tf.__version__


def test_stock_ops_only(version):
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    (meta,) = saved.meta_graphs
    functions = meta.graph_def.library.function
    ops = {node.op for node in meta.graph_def.node}
    ops |= {node.op for function in functions for node in function.node_def}
    # The walk has reached the functions: this op is in generate_png only.
    assert "EncodePng" in ops
    assert not [op for op in ops if op.startswith(FORBIDDEN)]
    # jit_compile=True would hand the signatures to XLA.
    assert not [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b]
    assert not [f.signature.name for f in functions if "grad_fn" in f.signature.name]
    # One synthesis network serves all signatures: its copies would multiply the load time.
    networks = [f.signature.name for f in functions if "synthesis" in f.signature.name]
    assert len(networks) == 1, networks


def test_a_model_without_labels_asks_for_none():
    tiny = sg3tf.Generator.from_preset("stylegan3-r", resolution=16, channel_base=64, channel_max=4)
    for name, function in ServedGenerator(tiny).signatures().items():
        (specs, _) = function.get_concrete_function().structured_input_signature
        assert "label" not in {spec.name for spec in specs}, name


def run_export(*flags, cwd):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "serving.export", *flags]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_command_line(generator, tmp_path):
    generator.save(tmp_path / "g.keras")
    done = run_export("--model=g.keras", "--model_base_path=models/sg3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["models/sg3/1"]
    described = json.loads((tmp_path / "models/sg3/1/assets.extra/sg3tf.json").read_text())
    assert described["config"]["label_dim"] == 3


def test_command_line_without_a_model(tmp_path):
    done = run_export("--model=missing.keras", "--model_base_path=models", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot load missing.keras" in done.stderr
    assert not (tmp_path / "models").exists()


LOADER = """
import sys
for name in ("sg3tf", "serving", "trainer"):
    sys.modules[name] = None
try:
    import sg3tf
except ImportError:
    pass
else:
    sys.exit("sg3tf can be imported")
import numpy as np
import tensorflow as tf
folder, requests, answers = sys.argv[1:]
requests = np.load(requests)
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)
    def ask(name, **inputs):
        signature = meta.signature_def[name]
        feed = {signature.inputs[k].name: v for k, v in inputs.items()}
        return session.run({k: v.name for k, v in signature.outputs.items()}, feed)
    condition = {"psi": requests["psi"], "label": requests["label"]}
    ws = ask("map", z=requests["z"], **condition)["ws"]
    out = {
        "ws": ws,
        "images": ask("serving_default", z=requests["z"], **condition)["images"],
        "real": ask("synthesize_float", ws=ws, transform=requests["transform"])["images"],
        "png": ask("generate_png", seed=requests["seed"], **condition)["png_bytes"],
    }
    out["decoded"] = session.run([tf.io.decode_png(png) for png in out.pop("png")])
np.savez(answers, **out)
"""


def test_same_images_in_a_process_without_the_project(version, generator, tmp_path):
    seeds = np.array([5, 2**32 - 1])
    request = {
        "seed": seeds,
        "z": np.stack([np.random.RandomState(s).randn(64) for s in seeds]).astype(np.float32),
        "psi": np.float32(0.7),
        "label": np.eye(3, dtype=np.float32)[:2],
        "transform": np.tile(np.eye(3, dtype=np.float32), (2, 1, 1)),
    }
    request["transform"][1, :2] = [[0.8, -0.6, 0.1], [0.6, 0.8, -0.2]]
    np.savez(tmp_path / "requests.npz", **request)
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-I", "-c", LOADER]
    command += [str(version), str(tmp_path / "requests.npz"), str(tmp_path / "answers.npz")]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = np.load(tmp_path / "answers.npz")
    ws = generator.mapping(request["z"], request["label"], truncation_psi=0.7).numpy()
    np.testing.assert_allclose(answers["ws"], ws, atol=1e-5 * np.abs(ws).max())
    real = generator.synthesis(ws, transform=request["transform"]).numpy()
    np.testing.assert_allclose(answers["real"], real, atol=1e-5 * np.abs(real).max())
    plain = np.rint(np.clip((generator.synthesis(ws).numpy() + 1) * 127.5, 0, 255))
    np.testing.assert_allclose(answers["images"], plain, atol=1)
    np.testing.assert_allclose(answers["decoded"], plain, atol=1)
    assert plain.std() > 1
