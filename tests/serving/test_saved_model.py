"""An exported generator: stock operations only, atomic versions, and the same images without the project."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow_serving.apis import prediction_log_pb2

import sg3tf
from serving import saved_model
from serving.saved_model import export_saved_model, with_precision
from serving.server.model import ServedModel
from sg3tf.generate.saved_model_network import SavedModelNetwork
from sg3tf.models.provenance import training_provenance
from sg3tf.utils import saved_models
from tests.helpers.bit_flips import flips

# Operations that a stock server cannot run: native ones, callbacks into Python, compiled clusters.
FORBIDDEN = ("Sg3>", "PyFunc", "EagerPyFunc", "Xla", "_Xla")


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(0)  # with some weights, bf16 differs by more than test_bf16 expects
    tiny = {"resolution": 32, "channel_base": 512, "channel_max": 16, "z_dim": 64, "w_dim": 32}
    return sg3tf.Generator.from_preset("stylegan3-t", label_dim=3, **tiny)


@pytest.fixture(scope="module")
def version(generator, tmp_path_factory):
    return export_saved_model(
        generator, tmp_path_factory.mktemp("export") / "sg3", max_batch=4, warmup_batch_sizes=(1, 2)
    )


@pytest.fixture
def without_validation(monkeypatch):
    """Skip the validation, which starts a process; test_validate.py tests it."""
    monkeypatch.setattr(saved_model, "validate_export", lambda *_: {})


def test_versions_are_numbered_and_nothing_else_is_left(fake_generator, tmp_path, without_validation):
    assert export_saved_model(fake_generator, tmp_path).name == "1"
    (tmp_path / "10").mkdir()
    (tmp_path / "notes").mkdir()
    before = (tmp_path / "1" / "saved_model.pb").read_bytes()
    assert export_saved_model(fake_generator, tmp_path).name == "11"
    assert {entry.name for entry in tmp_path.iterdir()} == {"1", "10", "11", "notes"}
    assert (tmp_path / "1" / "saved_model.pb").read_bytes() == before


def test_a_failed_export_leaves_nothing(fake_generator, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.saved_model.model_metadata", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_saved_model(fake_generator, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_version_is_on_the_disk_before_it_appears(fake_generator, tmp_path, monkeypatch, without_validation):
    seen = []
    monkeypatch.setattr(saved_model, "sync_folder", lambda folder: seen.append((folder, os.listdir(tmp_path))))
    export_saved_model(fake_generator, tmp_path)
    ((folder, names),) = seen
    assert names == [folder.name] and folder.name.startswith(".unfinished")


def test_flipped_bits_are_found_or_harmless(fake_generator, tmp_path, without_validation):
    folder = export_saved_model(fake_generator, tmp_path)
    for file in [path for path in folder.rglob("*") if path.is_file()]:
        for place in flips(file, few=4):
            if file.name in ("tf_serving_warmup_requests", "fingerprint.pb"):  # nothing is computed from them
                saved_models.require_intact(folder)
                continue
            for load in (saved_models.require_intact, ServedModel, lambda path: SavedModelNetwork(path, "fake")):
                with pytest.raises(OSError, match=f"{folder}: .* (is damaged|cannot be read)") as error:
                    load(folder)
                assert file.name in (*str(error.value).replace("/", " ").split(), "sha256.json"), place
    saved_models.require_intact(folder)


def test_a_copy_that_lacks_its_metadata_yet_is_refused(fake_generator, tmp_path, without_validation):
    """It would be served as another project's model, without limits and checks; older exports have no such digest."""
    folder = export_saved_model(fake_generator, tmp_path)
    metadata = folder / "assets.extra" / "sg3tf.json"
    metadata.rename(tmp_path / "later")
    with pytest.raises(OSError, match="sg3tf.json cannot be read"):
        ServedModel(folder)
    (tmp_path / "later").rename(metadata)
    assert ServedModel(folder).version == 1


def test_a_number_taken_meanwhile_is_not_overwritten(fake_generator, tmp_path, monkeypatch, without_validation):
    rename = Path.rename

    def slow_rename(unfinished, version):
        if version.name == "1":
            version.mkdir()
            (version / "saved_model.pb").write_text("another exporter's")
        return rename(unfinished, version)

    monkeypatch.setattr(Path, "rename", slow_rename)
    assert export_saved_model(fake_generator, tmp_path).name == "2"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "another exporter's"


def test_metadata(version, generator):
    described = json.loads((version / "assets.extra" / "sg3tf.json").read_text())
    assert described["config"]["resolution"] == 32
    assert described["num_ws"] == generator.num_ws
    assert described["versions"]["sg3tf"] == sg3tf.__version__
    assert (described["max_batch"], described["xla"]) == (4, False)
    z = described["signatures"]["generate"]["inputs"]["z"]
    assert z == {"dtype": "float32", "shape": [None, 64], "meaning": "latents, standard normal"}
    assert list(described["signatures"]["mix"]["inputs"]) == ["ws_a", "ws_b", "mask"]
    tensors = [t for s in described["signatures"].values() for part in s.values() for t in part.values()]
    assert all(tensor["meaning"] for tensor in tensors)
    validation = described["validation"]
    assert validation["largest_difference"] < 1e-4
    assert len(validation["latencies_ms"]) == 2 * len(described["signatures"])
    assert min(latency["second"] for latency in validation["latencies_ms"]) > 0


def test_code_revision():
    git = ["git", "-C", str(Path(sg3tf.__file__).parent), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    found = saved_model.code_revision()
    assert (found or "").removesuffix("-dirty") == head


def test_warmup_covers_every_signature_and_batch_size(version):
    records = tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests"))
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records.as_numpy_iterator()]
    signatures = tf.saved_model.load(str(version)).signatures
    asked = set()
    for log in logs:
        request = log.predict_log.request
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        assert set(inputs) == set(signatures[name].structured_input_signature[1])
        # A server that batches takes nothing without rows.
        (rows,) = {len(value) for value in inputs.values()}
        asked.add((name, rows))
    assert asked == {(name, rows) for name in signatures for rows in (1, 2)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max_batch=0: give at least 1"),
        ({"warmup_batch_sizes": ()}, "warmup_batch_sizes=: give at least one"),
        ({"warmup_batch_sizes": (1, 0)}, "warmup_batch_sizes=1,0: give"),
        ({"max_batch": 4, "warmup_batch_sizes": (2, 8)}, "none may exceed max_batch=4"),
        ({"warmup_batch_sizes": range(1, 200)}, "give at most 83 sizes for 12 signatures"),
    ],
)
def test_impossible_batch_sizes(options, message, fake_generator, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_saved_model(fake_generator, tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()


def test_bf16(generator):
    twin = with_precision(generator, "bf16")
    assert twin.dtype_policy.name == "mixed_bfloat16"
    assert with_precision(twin, "fp32").dtype_policy.name == "float32"
    assert with_precision(generator, "fp32") is generator
    for mine, its in zip(twin.get_weights(), generator.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)
    ws = np.random.default_rng(0).normal(size=[1, twin.num_ws, 32]).astype(np.float32)
    wide, narrow = generator.synthesis(ws).numpy(), twin.synthesis(ws).numpy()
    error = np.sqrt(np.mean((narrow - wide) ** 2) / np.mean(wide**2))
    # Sixty independent roundings to 8 bits, docs/adr/0010.
    assert 0 < error < np.sqrt(60) * 2.0**-8
    with pytest.raises(ValueError, match="precision='fp16'"):
        with_precision(generator, "fp16")


def test_metadata_of_another_network(stylegan2, tmp_path, without_validation):
    version = export_saved_model(stylegan2, tmp_path, license="CC0-1.0", max_batch=2, metadata={"training_kimg": 7.0})
    described = json.loads((version / "assets.extra" / "sg3tf.json").read_text())
    assert (described["class"], described["precision"]) == ("StyleGAN2Generator", "fp32")
    assert (described["license"], described["max_batch"], described["training_kimg"]) == ("CC0-1.0", 2, 7.0)
    assert list(described["signatures"]["synthesize"]["inputs"]) == ["ws"]


def test_provenance_of_weights(tmp_path):
    run = tmp_path / "00003-stylegan3-t-cats"
    checkpoint = run / "checkpoints" / "000012345"
    checkpoint.mkdir(parents=True)
    (run / "options.json").write_text('{"data_name": "cats", "data_digest": "abc"}')
    (checkpoint / "progress.json").write_text('{"cur_nimg": 12345}')
    (checkpoint / "generator.keras").touch()
    for kimg in ("000010", "000012", "000012_400"):
        (run / f"network-snapshot-{kimg}.keras").touch()
    (run / "classes.json").write_text('["tabby", "manx"]')
    data = {"data_name": "cats", "data_digest": "abc", "classes": ["tabby", "manx"]}
    newest = {"source": f"{run.name}/network-snapshot-000012_400.keras", "training_kimg": 12.4, **data}
    assert training_provenance(run).to_json() == newest
    assert training_provenance(run / "network-snapshot-000010.keras").training_kimg == 10.0
    of_checkpoint = {"source": f"{run.name}/checkpoints/000012345", "training_kimg": 12.345, **data}
    assert training_provenance(checkpoint).to_json() == of_checkpoint
    (run / "network-snapshot-000012_400.keras").unlink()
    assert training_provenance(run).to_json() == of_checkpoint  # newer than the snapshots
    assert training_provenance(checkpoint / "generator.keras").training_kimg == 12.345
    lone = tmp_path / "g.keras"
    lone.touch()
    unknown = {"source": "g.keras", "training_kimg": None, "data_name": None, "data_digest": None, "classes": []}
    assert training_provenance(lone).to_json() == unknown


def test_stock_ops_only(version):
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    (meta,) = saved.meta_graphs
    functions = meta.graph_def.library.function
    ops = {node.op for node in meta.graph_def.node}
    ops |= {node.op for function in functions for node in function.node_def}
    # The walk has reached the functions: this op is in generate_png only.
    assert "EncodePng" in ops
    assert not [op for op in ops if op.startswith(FORBIDDEN)]
    named = {function.signature.name for function in functions}
    assert not [op for op in ops - named if op_def_registry.get(op) is None]
    # jit_compile=True would hand the signatures to XLA.
    assert not [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b]
    assert not [f.signature.name for f in functions if "grad_fn" in f.signature.name]
    # One synthesis network serves all signatures: its copies would multiply the load time.
    networks = [f.signature.name for f in functions if "synthesis" in f.signature.name]
    assert len(networks) == 1, networks


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
