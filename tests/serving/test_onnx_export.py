"""A generator as an ONNX file: the numbers of the official code, those of every Keras generator, and no broken file."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest

import sg3tf
from serving import export, onnx_export, onnx_graph, onnx_networks
from serving.onnx_export import export_onnx, onnx_model
from serving.validate import ValidationError
from sg3tf.latents import transform_matrix
from tests.helpers.numerics import relative_error
from tests.helpers.official_generators import OFFICIAL, check_official_numbers, official_generator

TINY = {"resolution": 16, "channel_base": 64, "channel_max": 6, "z_dim": 8, "w_dim": 6}


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def run(model, inputs):
    """Outputs by name. A single number stands for all images."""
    inputs = {name: np.atleast_1d(value) for name, value in inputs.items()}
    running = session(model)
    names = [output.name for output in running.get_outputs()]
    return dict(zip(names, running.run(names, inputs), strict=True))


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_numbers(name, golden):
    arrays = golden(name)
    G = official_generator(name, arrays)
    model = onnx_model(G, "z")
    onnx.checker.check_model(model, full_check=True)
    check_official_numbers(G, arrays, lambda inputs: run(model, inputs))


def scattered(preset, **fields):
    """A generator all of whose weights differ from their usual initial values, as after training."""
    keras.utils.set_random_seed(0)
    G = sg3tf.Generator.from_preset(preset, **TINY | fields)
    rng = np.random.default_rng(1)
    for variable in G.variables:
        noise = 0.2 * rng.standard_normal(variable.shape)
        variable.assign(0.6 if variable.path.endswith("magnitude_ema") else variable + noise)
    return G


@pytest.mark.parametrize(
    ("preset", "fields"),
    [
        ("stylegan3-t", {"image_channels": 1, "layer_clamps": (("L1_36_6", 0.1),), "mapping_activation": "relu"}),
        ("stylegan3-d", {}),  # bilinear, without filters around the nonlinearity
        ("stylegan3-g", {"label_dim": 3, "embed_features": 5, "mapping_features": 7}),  # a fixed input, by itself
        ("stylegan2", {"architecture": "resnet", "activation": "relu", "resample_filter": (1, 2, 3)}),
        ("stylegan2", {"architecture": "orig", "activation": "linear", "conv_clamp": 0.5, "resolution": 8}),
        ("stylegan2", {"fourier_input": True, "image_channels": 4, "resolution": 8}),
        ("stylegan1", {"resolution": 8}),
        ("stylegan3-r", {"resolution": (32, 16), "channel_base": 128}),  # width x height
        ("stylegan2", {"resolution": (16, 24), "channel_base": 128}),
    ],
)
def test_every_kind_of_network(preset, fields):
    G = scattered(preset, **fields)
    model = onnx_model(G, "z")
    onnx.checker.check_model(model, full_check=True)
    rng = np.random.default_rng(2)
    for size in (1, 3):
        inputs = {"z": rng.standard_normal([size, 8], np.float32), "psi": np.float32([0.6]), "cutoff": 3}
        if G.config.label_dim:
            inputs["label"] = rng.standard_normal([size, 3], np.float32)
        if G.supports_transform:
            inputs["transform"] = np.stack([transform_matrix(*rng.normal(size=3) / 4) for _ in range(size)])
        found = run(model, inputs)
        ws = G.mapping(inputs["z"], inputs.get("label"), truncation_psi=0.6, truncation_cutoff=3)
        assert relative_error(found["ws"], ws) < 3e-6  # of the first: each within 7e-7 of float64
        expected = G.synthesis(ws, transform=inputs.get("transform"))
        # Both are in float32; networks with AdaIN divide by the deviations of few pixels.
        assert relative_error(found["images"], expected) < 1e-5
        assert np.std(expected) > 0.01


@pytest.mark.parametrize("preset", ["stylegan3-t", "stylegan3-r"])
def test_tiles_give_the_same_images(preset, monkeypatch):
    G = scattered(preset)
    inputs = {"ws": np.random.default_rng(0).standard_normal([2, G.num_ws, 6], np.float32)}
    inputs["transform"] = transform_matrix(0.3)[None]
    whole = run(onnx_model(G, "ws"), inputs)["images"]
    monkeypatch.setattr(onnx_graph, "MAX_DENSE", 20)
    monkeypatch.setattr(onnx_graph, "TILE", 11)
    tiled = onnx_model(G, "ws")
    assert sum(node.op_type == "MatMul" for node in tiled.graph.node) > 200
    assert relative_error(run(tiled, inputs)["images"], whole) < 1e-5


def test_openvino_reads_the_same_file(tmp_path):
    import openvino

    G = scattered("stylegan3-r", label_dim=3)
    model = onnx_model(G, "z")
    onnx.save_model(model, tmp_path / "g.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "g.onnx", "CPU", onnx_export.OPENVINO_OPTIONS)
    rng = np.random.default_rng(3)
    for size in (1, 3):  # one compiled model for all
        z, label = (rng.standard_normal([size, n], np.float32) for n in (8, 3))
        inputs = {"z": z, "label": label, "psi": np.float32([0.6]), "cutoff": np.array([3])}
        inputs["transform"] = np.stack([transform_matrix(*rng.normal(size=3) / 4) for _ in range(size)])
        found = compiled(inputs)
        expected = run(model, inputs)
        for name in ("images", "ws"):
            assert relative_error(found[name], expected[name]) < 1e-5


def test_each_image_has_its_own_truncation():
    G = scattered("stylegan2", resolution=8)
    z = np.random.default_rng(0).standard_normal([3, 8], np.float32)
    psi, cutoff = np.float32([0.5, 1, -1]), [4, 2, 0]
    found = run(onnx_model(G, "z"), {"z": z, "psi": psi, "cutoff": cutoff})["ws"]
    for i in range(3):
        alone = G.mapping(z[i : i + 1], truncation_psi=float(psi[i]), truncation_cutoff=cutoff[i])
        assert relative_error(found[i : i + 1], alone) < 5e-6  # eight layers, in float32


@pytest.fixture(scope="module")
def generator():
    return scattered("stylegan3-t", label_dim=3)


@pytest.mark.parametrize("inputs", ["z", "ws"])
def test_a_file(inputs, generator, tmp_path):
    file = export_onnx(generator, tmp_path / "new" / "g.onnx", inputs=inputs, license="CC0-1.0", metadata={"a": 1})
    assert [entry.name for entry in file.parent.iterdir()] == ["g.onnx"]
    running = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    first = {"z": ["z", "label", "psi", "cutoff"], "ws": ["ws"]}[inputs]
    assert [i.name for i in running.get_inputs()] == [*first, "transform"]
    described = json.loads(running.get_modelmeta().custom_metadata_map["sg3tf"])
    assert (described["class"], described["license"], described["a"]) == ("StyleGAN3Generator", "CC0-1.0", 1)
    assert described["config"]["resolution"] == 16
    assert described["openvino"] == {"INFERENCE_PRECISION_HINT": "f32"}
    expected = {"dtype": "float32", "shape": [None, 16, 16, 3], "meaning": "NHWC; -1 black and 1 white, not clipped"}
    assert described["outputs"]["images"] == expected
    assert described["inputs"]["transform"]["shape"] == [None, 3, 3]
    assert 0 < described["validation"]["largest_difference"] < 1e-5
    assert [latency["batch"] for latency in described["validation"]["latencies_ms"]] == [1, 2, 2]


def test_weights_in_16_bits(generator, tmp_path, monkeypatch):
    file = export_onnx(generator, tmp_path / "g.onnx", weights="fp16")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}
    half = [array for array in stored.values() if array.dtype == np.float16]
    # All weights of dense layers and convolutions, and sums of their squares; filters and biases keep their digits.
    kernels = [v for v in generator.variables if v.path.endswith("kernel")]
    squares = sum(v.shape[-2] * v.shape[-1] for v in kernels if len(v.shape) == 4 and v.shape[-1] != 3)
    assert sum(array.size for array in half) == sum(np.prod(v.shape) for v in kernels) + squares
    assert sum(array.dtype == np.float32 and array.ndim == 2 for array in stored.values()) > 25  # filters as matrices
    metadata = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).get_modelmeta()
    described = json.loads(metadata.custom_metadata_map["sg3tf"])
    assert described["weights"] == "fp16"
    assert 1e-5 < described["validation"]["root_mean_square_difference"] < 2e-3

    def rounded_more(graph, value, kernel=onnx_graph.GraphWriter.kernel):
        return kernel(graph, value.astype(ml_dtypes.bfloat16).astype(np.float64))

    monkeypatch.setattr(onnx_graph.GraphWriter, "kernel", rounded_more)  # eight times the difference
    with pytest.raises(ValidationError, match="images differs from the generator's by"):
        export_onnx(generator, tmp_path / "worse.onnx", weights="fp16")
    assert not (tmp_path / "worse.onnx").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("LRELU_SLOPE", 0.21, "^onnxruntime, batch 1: images differs from the generator's by"),
        ("write_mapping", lambda graph, *_: graph.node("Sg3Unknown", "z"), "^.*Sg3Unknown.*$"),
    ],
)
def test_a_wrong_graph_is_never_seen(name, value, message, generator, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export if hasattr(onnx_export, name) else onnx_networks, name, value)
    with pytest.raises(ValidationError, match=message) as caught:
        export_onnx(generator, tmp_path / "g.onnx", batch_sizes=[1])
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_former_file_is_kept_after_a_failure(generator, tmp_path, monkeypatch):
    file = tmp_path / "g.onnx"
    file.write_bytes(b"former")
    monkeypatch.setattr(onnx_export, "validate_file", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_onnx(generator, file)
    assert file.read_bytes() == b"former" and [entry.name for entry in tmp_path.iterdir()] == ["g.onnx"]


def test_impossible_requests(generator, fake_generator, tmp_path):
    with pytest.raises(ValueError, match=r"g\.bin': give the name of a file that ends in \.onnx"):
        export_onnx(generator, tmp_path / "g.bin")
    with pytest.raises(ValueError, match=r"batch_sizes=0: give at least one size"):
        export_onnx(generator, tmp_path / "g.onnx", batch_sizes=[0])
    with pytest.raises(ValueError, match="inputs='w': give 'z' or 'ws'"):
        export_onnx(generator, tmp_path / "g.onnx", inputs="w")
    with pytest.raises(ValueError, match="weights='int8': give 'fp32' or 'fp16'"):
        export_onnx(generator, tmp_path / "g.onnx", weights="int8")
    with pytest.raises(ValueError, match="a FakeGenerator cannot be written as ONNX: give"):
        export_onnx(fake_generator, tmp_path / "g.onnx", inputs="ws")
    assert list(tmp_path.iterdir()) == []


def test_command_line(generator, tmp_path, monkeypatch, capsys):
    generator.save(tmp_path / "network-snapshot-000007.keras")
    monkeypatch.setattr(onnx_export, "validate_file", lambda *_: {})
    flags = [f"--network={tmp_path / 'network-snapshot-000007.keras'}", "--format=onnx", "--inputs=ws"]
    assert export.main([*flags, f"--out={tmp_path / 'g.onnx'}", "--license=CC0-1.0"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'g.onnx'}\n"
    model = onnx.load(tmp_path / "g.onnx")
    described = json.loads(model.metadata_props[0].value)
    assert (described["training_kimg"], described["license"], model.graph.input[0].name) == (7.0, "CC0-1.0", "ws")


def test_the_runtime_may_come_in_another_package(tmp_path):
    """ONNX Runtime for GPUs is the package onnxruntime-gpu, so that there is no package onnxruntime to ask."""
    np.savez(tmp_path / "requests.npz", **{"0/z": np.zeros([1, 2], np.float32)})
    program = """
import importlib.metadata, json, sys, types
def version(name): raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = version
class Session:
    def __init__(self, *_, **__): pass
    def get_outputs(self): return [types.SimpleNamespace(name="images")]
    def run(self, names, inputs): return [inputs["z"]]
runtime = types.ModuleType("onnxruntime")
runtime.SessionOptions, runtime.InferenceSession, runtime.__version__ = types.SimpleNamespace, Session, "1.2.3"
sys.modules["onnxruntime"] = runtime
sys.path.insert(0, sys.argv[1])
import file_process
file_process.main("onnxruntime", "model.onnx", "requests.npz", "answers.npz")
"""
    command = [sys.executable, "-c", program, str(Path(onnx_export.__file__).parent)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["version"] == "1.2.3"
