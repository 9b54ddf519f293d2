"""A generator as a LiteRT file: the numbers of the official code, any number of images, and no broken file."""

import json
import sys
import zipfile

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from serving import export, litert_export
from serving.litert_export import export_litert
from serving.validate import ValidationError
from sg3tf.utils.extras import MissingExtraError
from tests.helpers.numerics import nhwc, relative_error
from tests.helpers.official_generators import check_official_numbers, official_generator


def run(file, inputs):
    return Interpreter(str(file)).get_signature_runner()(**inputs)


def model_of(file):
    """The file without the metadata at its end."""
    with zipfile.ZipFile(file) as archive:
        return file.read_bytes()[: archive.infolist()[0].header_offset]


@pytest.fixture(scope="module")
def exported(golden, tmp_path_factory):
    """Generators and their files, each exported once: config R as the synthesis alone, the others from latents."""
    made = {}

    def export_once(name):
        if name not in made:
            G = official_generator(name, golden(name))
            file = tmp_path_factory.mktemp(name) / "new" / "g.tflite"
            inputs = "ws" if name == "generator_r32" else "z"
            made[name] = G, export_litert(G, file, inputs=inputs, license="CC0-1.0", metadata={"a": 1})
        return made[name]

    return export_once


@pytest.mark.parametrize("name", ["generator_t32", "generator_sg2_32"])
def test_the_official_numbers(name, golden, exported):
    """Of 3 images, which is not a number that the validation tries."""
    G, file = exported(name)
    check_official_numbers(G, golden(name), lambda inputs: run(file, inputs))


def test_the_synthesis_alone(golden, exported):
    _, file = exported("generator_r32")
    arrays = golden("generator_r32")
    identity = np.tile(np.eye(3, dtype=np.float32), (3, 1, 1))
    for transform, key in ((identity, "image_nchw"), (identity @ arrays["transform"], "image_transformed")):
        found = run(file, {"ws": arrays["ws"], "transform": np.float32(transform)})["images"]
        assert relative_error(found, nhwc(arrays[key])) < 1e-5  # in float32, as the Keras generators


def test_a_file(exported):
    _, file = exported("generator_t32")
    assert [entry.name for entry in file.parent.iterdir()] == ["g.tflite"]
    signature = Interpreter(str(file)).get_signature_list()["serving_default"]
    assert signature == {"inputs": ["cutoff", "label", "psi", "transform", "z"], "outputs": ["images", "ws"]}
    described = json.loads(zipfile.ZipFile(file).read("sg3tf.json"))
    assert (described["class"], described["license"], described["a"]) == ("StyleGAN3Generator", "CC0-1.0", 1)
    assert described["inputs"]["transform"]["shape"] == [None, 3, 3]
    assert described["outputs"]["ws"] == {"dtype": "float32", "shape": [None, 16, 16], "meaning": "style vectors"}
    assert 0 < described["validation"]["largest_difference"] < 1e-5
    assert [latency["batch"] for latency in described["validation"]["latencies_ms"]] == [1, 2]


def test_a_wrong_file_is_never_seen(exported, golden, tmp_path, monkeypatch):
    _, former = exported("generator_sg2_32")
    other = official_generator("generator_sg2_32", golden("generator_sg2_32"))
    other.mapping_network.w_avg.assign_add(np.full(16, 0.01))
    file = tmp_path / "g.tflite"
    file.write_bytes(b"former")
    converted = model_of(former)
    for wrong, message in (
        (converted, "^ai_edge_litert, batch 1: images differs from the generator's by"),
        (converted[:1000], "^[^\n]+$"),
    ):
        monkeypatch.setattr(litert_export, "_convert", lambda *_, wrong=wrong: wrong)
        with pytest.raises(ValidationError, match=message):
            export_litert(other, file)
        assert file.read_bytes() == b"former" and [entry.name for entry in tmp_path.iterdir()] == ["g.tflite"]


def test_impossible_requests(exported, tmp_path, monkeypatch):
    G, _ = exported("generator_sg2_32")
    with pytest.raises(ValueError, match=r"g\.onnx': give the name of a file that ends in \.tflite"):
        export_litert(G, tmp_path / "g.onnx")
    with pytest.raises(ValueError, match="inputs='w': give 'z' or 'ws'"):
        export_litert(G, tmp_path / "g.tflite", inputs="w")
    with pytest.raises(ValueError, match="batch_sizes=: give at least one size"):
        export_litert(G, tmp_path / "g.tflite", batch_sizes=[])
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(
        MissingExtraError, match=r"g\.tflite needs the package ai-edge-litert: pip install 'sg3tf\[litert\]'"
    ):
        export_litert(G, tmp_path / "g.tflite")
    assert list(tmp_path.iterdir()) == []


def test_command_line(exported, tmp_path, monkeypatch, capsys):
    G, former = exported("generator_sg2_32")
    G.save(tmp_path / "g.keras")
    converted = model_of(former)
    monkeypatch.setattr(litert_export, "_convert", lambda *_: converted)
    flags = [f"--network={tmp_path / 'g.keras'}", "--format=litert"]
    assert export.main([*flags, f"--out={tmp_path / 'g.tflite'}"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'g.tflite'}\n"
    assert export.main(flags) == 1
    assert capsys.readouterr().err == "serving.export: --out is missing: give the file to write, NAME.tflite\n"
