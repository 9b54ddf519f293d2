"""Validation of an export: a broken one never becomes a version."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving import saved_model, validate
from serving.saved_model import export_saved_model
from serving.validate import ValidationError, validate_export
from sg3tf.utils.class_names import label_of


@pytest.fixture(scope="module")
def version(fake_generator, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "validate_export", lambda *_: {})
        return export_saved_model(fake_generator, tmp_path_factory.mktemp("exported"), warmup_batch_sizes=(1, 2))


@pytest.fixture
def requests(fake_generator):
    return validate.reference_requests(fake_generator, (1, 2))


def test_a_good_version(version, fake_generator, requests):
    took = validate_export(version, validate.ReferenceModel(fake_generator, xla=False), requests)
    assert took["load_ms"] > 0
    assert [(t["signature"], t["batch"]) for t in took["latencies_ms"]] == [(r.signature, r.batch) for r in requests]
    assert took["largest_difference"] < 1e-6


def test_other_weights(version, fake_generator, requests):
    other = type(fake_generator)()
    other._to_image.assign(other._to_image * 1.001)
    with pytest.raises(ValidationError) as caught:
        validate_export(version, validate.ReferenceModel(other, xla=False), requests)
    assert "signature synthesize_float, batch 1: images differs from the generator's by" in str(caught.value)


def test_missing_weights(version, fake_generator, requests, tmp_path):
    broken = shutil.copytree(version, tmp_path / "broken")
    (data,) = (broken / "variables").glob("variables.data*")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ValidationError, match="^the export cannot be loaded: .*RestoreV2.*$") as caught:
        validate_export(broken, validate.ReferenceModel(fake_generator, xla=False), requests)
    assert "\n" not in str(caught.value)


def test_an_operation_of_ours(version, fake_generator, requests, tmp_path):
    broken = shutil.copytree(version, tmp_path / "broken")
    saved = saved_model_pb2.SavedModel.FromString((broken / "saved_model.pb").read_bytes())
    nodes = [node for function in saved.meta_graphs[0].graph_def.library.function for node in function.node_def]
    next(node for node in nodes if node.op == "Tanh").op = "Sg3>FilteredLrelu"
    (broken / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(ValidationError, match=r"^function \S+ has the operation Sg3>FilteredLrelu, which a stock"):
        validate_export(broken, validate.ReferenceModel(fake_generator, xla=False), requests)


def test_a_broken_export_is_never_seen(fake_generator, tmp_path, monkeypatch):
    kind = type(fake_generator)

    class CallsBack(kind):
        def synthesis(self, ws, *, transform):
            images = super().synthesis(ws, transform=transform)
            return tf.ensure_shape(tf.numpy_function(np.tanh, [images], tf.float32), [None, 8, 8, 3])

    with pytest.raises(ValidationError, match=r"^function \S+ has the operation \w*PyFunc\w*, which a stock server"):
        export_saved_model(CallsBack(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_signature_that_fails(fake_generator, tmp_path):
    kind = type(fake_generator)

    class Fails(kind):
        def synthesis(self, ws, *, transform):
            fine = tf.debugging.Assert(tf.shape(ws)[0] > 10, ["out of paint"])
            with tf.control_dependencies([fine]):
                return super().synthesis(tf.identity(ws), transform=transform)

    with pytest.raises(ValidationError, match="signature serving_default: .*out of paint"):
        export_saved_model(Fails(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"images": np.float32([np.nan, 1])}, "images is not finite"),
        ({"images": np.float32([0, 1.0002])}, "images differs from the generator's by 0.0002; 0.0001 is allowed"),
        ({"images": np.float32([[0, 1]])}, r"images is float32\(1, 2\), not float32\(2,\)"),
        ({"images": np.uint8([0, 1])}, "images is uint8"),
        ({"pictures": np.float32([0, 1])}, "outputs .'pictures'. instead of .'images'."),
    ],
)
def test_wrong_answers(answer, message):
    with pytest.raises(ValidationError, match=f"^signature generate, batch 2: {message}"):
        validate.largest_difference("signature generate, batch 2", {"images": np.float32([0, 1])}, answer)


@pytest.mark.parametrize("classes", [("tabby, old", "manx"), (" tabby", "tabby, old"), ("tabby", "manx")])
def test_requests_name_known_classes(fake_generator, classes):
    """A name may have commas or spaces around it; several are joined by commas only where they have neither."""
    requests = validate.reference_requests(fake_generator, [1, 4], classes)
    names = [name for request in requests for name in request.inputs.get("class_name", ())]
    assert set(classes) <= set(names)
    assert all(label_of(name, classes, 2) is not None for name in names)


def test_eight_bits_may_differ_where_rounding_decides():
    expected = {"images": np.uint8([0, 255])}
    assert validate.largest_difference("generate", expected, {"images": np.uint8([1, 254])}) == 0
    with pytest.raises(ValidationError, match="by 2; 1 is allowed"):
        validate.largest_difference("generate", expected, {"images": np.uint8([2, 255])})


def test_texts_must_be_equal():
    expected = {"class_name": np.array([b"manx", b"tabby"], object)}
    assert validate.largest_difference("class_name", expected, expected) == 0
    with pytest.raises(ValidationError, match=r"class_name is \[b'tabby', b'manx'\], not \[b'manx', b'tabby'\]"):
        validate.largest_difference("class_name", expected, {"class_name": expected["class_name"][::-1]})


def test_the_fresh_process_cannot_import_the_project():
    script = Path(validate.__file__).with_name("stock_loader.py").read_text()
    before_tensorflow, found, _ = script.partition("import tensorflow")
    assert found
    for project in ("sg3tf", "serving", "trainer"):
        path = f"sys.path.insert(0, {str(Path(validate.__file__).parents[1])!r})\n"
        command = [sys.executable, "-I", "-c", f"{before_tensorflow}\n{path}import {project}", "[]"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"import of {project} halted" in done.stderr


def test_the_fresh_process_finds_packages_where_this_one_does(tmp_path):
    """Without site-packages (-S), as for a TensorFlow on PYTHONPATH or of --user, which -I leaves out."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('it was found')")
    script = Path(validate.__file__).with_name("stock_loader.py")
    command = [sys.executable, "-I", "-S", script, json.dumps(["", str(tmp_path)]), "folder", "answers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == "it was found\n"
