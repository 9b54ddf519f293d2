"""The command `python -m serving.export`."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving import export, onnx_export, saved_model
from serving.validate import ValidationError
from sg3tf.models import loading


def run_export(*flags, cwd):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "serving.export", *flags]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_command_line(stylegan2, tmp_path):
    (tmp_path / "run").mkdir()
    stylegan2.save(tmp_path / "run" / "network-snapshot-000007.keras")
    flags = ["--network=run", "--model_base_path=models/sg3", "--precision=bf16", "--license=CC0-1.0"]
    done = run_export(*flags, "--max_batch=2", "--warmup_batch_sizes=1,2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["models/sg3/1"]
    version = tmp_path / "models/sg3/1"
    described = json.loads((version / "assets.extra" / "sg3tf.json").read_text())
    expected = {"precision": "bf16", "license": "CC0-1.0", "training_kimg": 7.0, "max_batch": 2, "xla": False}
    assert {name: described[name] for name in expected} == expected
    assert described["validation"]["largest_difference"] < 1e-4
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    types = {n.attr["T"].type for f in saved.meta_graphs[0].graph_def.library.function for n in f.node_def}
    assert tf.bfloat16.as_datatype_enum in types


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model_base_path=models"], "--network is missing: give"),
        (["--network=x.keras"], "--model_base_path is missing: give"),
        (["--network=missing.keras", "--model_base_path=models"], "missing.keras"),
        (["--network=x.keras", "--model_base_path=models", "--warmup_batch_sizes=1,two"], "1,two: give numbers"),
        (["--network=x.keras", "--model_base_path=models", "--precision=fp16"], "value should be one of <fp32|bf16>"),
        (["--network=x.keras", "--model_base_path=models", "--max_batch=0"], "--max_batch"),
        (["--network=x.keras", "--format=onnx"], "--out is missing: give the file to write, NAME.onnx"),
        (
            ["--network=x.keras", "--format=onnx", "--model_base_path=models"],
            "--model_base_path is for --format=saved_model",
        ),
        (["--network=x.keras", "--format=onnx", "--out=g.onnx", "--xla"], "--xla is for --format=saved_model, not"),
        (
            ["--network=x.keras", "--model_base_path=models", "--inputs=ws"],
            "--inputs is for --format=onnx or litert",
        ),
        (["x.keras", "--model_base_path=models"], "unexpected argument 'x.keras'"),
    ],
)
def test_errors_are_one_line(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert export.main(flags) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("serving.export: ") and message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["serving.export", "serving.server.__main__"])
def test_a_missing_extra_is_one_line(module, tmp_path):
    flags = ["--network=x.keras"] if module == "serving.export" else []
    code = f"import sys; sys.modules['tensorflow_serving'] = None; from {module} import main; "
    code += f"sys.exit(main({[*flags, '--model_base_path=models']}))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install 'sg3tf[serve]'")


@pytest.mark.parametrize("format", ["saved_model", "onnx"])
def test_a_run_in_training(stylegan2, tmp_path, monkeypatch, format):
    """The metadata is about the network that is exported."""
    seen = []
    stylegan2.save(tmp_path / "network-snapshot-000007.keras")

    def load_while_training(*arguments):
        shutil.copy(tmp_path / "network-snapshot-000007.keras", tmp_path / "network-snapshot-000009.keras")
        return stylegan2

    monkeypatch.setattr(loading, "load_model", load_while_training)
    monkeypatch.setattr(saved_model, "export_saved_model", lambda *_, metadata, **__: seen.append(metadata))
    monkeypatch.setattr(onnx_export, "export_onnx", lambda *_, metadata, **__: seen.append(metadata))
    target = "--model_base_path=models" if format == "saved_model" else "--out=g.onnx"
    assert export.main([f"--network={tmp_path}", f"--format={format}", target]) == 0
    assert seen[0]["training_kimg"] == 7


def test_a_failed_validation_is_one_line(stylegan2, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ValidationError("signature map, batch 1: ws is not finite")

    stylegan2.save(tmp_path / "g.keras")
    monkeypatch.setattr(saved_model, "validate_export", fail)
    assert export.main([f"--network={tmp_path / 'g.keras'}", f"--model_base_path={tmp_path / 'models'}"]) == 1
    assert capsys.readouterr().err == "serving.export: signature map, batch 1: ws is not finite\n"
    assert list((tmp_path / "models").iterdir()) == []
