"""Keras knows the models whatever was imported first, on TensorFlow alone."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from sg3tf import Generator
from sg3tf.models import registration
from sg3tf.models.configs import GeneratorConfig
from sg3tf.models.generators import AblationGenerator, StyleGAN3Generator
from sg3tf.models.layer_plan import plan_synthesis

ROOT = Path(__file__).parents[3]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator that is quickly loaded."""
    path = tmp_path_factory.mktemp("saved") / "tiny.keras"
    size = {"num_layers": 2, "num_critical": 1, "channel_base": 32, "channel_max": 2, "z_dim": 2, "w_dim": 2}
    Generator.from_preset("stylegan3-t", 16, **size).save(path)
    return path


@pytest.mark.parametrize(
    "imports",
    [
        "import sg3tf, keras",
        "import keras, sg3tf",
        "import sg3tf; from tensorflow import keras",
        "import sg3tf.models.discriminator, keras",  # it is what imports Keras
        "import importlib.util, sg3tf; importlib.util.find_spec('keras'); import keras",
    ],
)
def test_load_model_whatever_was_imported_first(saved: Path, imports: str) -> None:
    code = f"""
{imports}
G = keras.models.load_model({str(saved)!r})
import sg3tf
assert type(G) is sg3tf.StyleGAN3Generator and isinstance(G, sg3tf.Generator)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_neither_tensorflow_nor_keras() -> None:
    done = run("import sys, sg3tf; print({'tensorflow', 'keras', 'numpy'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


def test_public_names_are_listed_before_they_are_imported() -> None:
    done = run("import sg3tf; print(set(sg3tf.__all__) - set(dir(sg3tf)))")
    assert done.stdout.strip() == "set()", done.stderr


def test_another_backend_is_refused() -> None:
    done = run("import sg3tf; sg3tf.Generator", KERAS_BACKEND="jax")
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last == (
        "ImportError: Keras backend 'jax' (from KERAS_BACKEND): sg3tf needs TensorFlow; "
        "set the environment variable KERAS_BACKEND=tensorflow before Keras is imported"
    )


def test_another_backend_in_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    done = run("import sg3tf, keras", KERAS_HOME=str(tmp_path), KERAS_BACKEND="")
    assert done.returncode == 1 and f"'torch' (from {tmp_path / 'keras.json'}): sg3tf needs" in done.stderr
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert registration._configured_backend() == ("tensorflow", "from KERAS_BACKEND")


def test_a_command_answers_another_backend_with_one_line() -> None:
    commands = [["generate", "grid", "--network=x", "--out=x.png"], ["export", "--network=x", "--model_base_path=x"]]
    done = run(f"from sg3tf.cli.main import main; print([main(each) for each in {commands}])", KERAS_BACKEND="jax")
    assert done.stdout == "[1, 1]\n", done.stderr
    for command, line in zip(("generate grid", "export"), done.stderr.splitlines(), strict=True):
        assert line.startswith(f"sg3tf {command}: "), line
        assert "Keras backend 'jax' (from KERAS_BACKEND): sg3tf needs TensorFlow" in line


def test_another_backend_in_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "numpy")
    with pytest.raises(ImportError, match=r"Keras backend 'numpy' \(in use\): sg3tf needs TensorFlow"):
        registration.install()


def test_the_table_has_every_class_that_is_registered() -> None:
    for module, name in registration.KERAS_NAMES.values():
        assert hasattr(importlib.import_module(f"sg3tf.models.{module}"), name)
    for name, (module, cls) in registration.KERAS_NAMES.items():
        registered = keras.saving.get_registered_object(f"sg3tf>{name}")
        assert registered is getattr(importlib.import_module(f"sg3tf.models.{module}"), cls)
    ours = {key for key in keras.saving.get_custom_objects() if key.startswith("sg3tf>")}
    assert ours == {f"sg3tf>{name}" for name in registration.KERAS_NAMES}


def test_a_stand_in_is_replaced_by_its_class_when_a_file_asks_for_it() -> None:
    code = """
import sg3tf, keras, sys
stand_in = keras.saving.get_registered_object("sg3tf>Dense")
assert type(stand_in).__name__ == "LazyClass" and "sg3tf.models.layers" not in sys.modules
layer = keras.saving.deserialize_keras_object(
    {"class_name": "Dense", "registered_name": "sg3tf>Dense", "module": "sg3tf.layers.dense", "config": {"units": 3}}
)
from sg3tf.models.layers import EqualizedDense
assert type(layer) is EqualizedDense and layer.units == 3
assert keras.saving.get_registered_object("sg3tf>Dense") is EqualizedDense
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


FORMER = {
    "resolution": 16, "channel_base": 64, "channel_max": 4, "z_dim": 4, "w_dim": 4, "kernel": 1, "radial": True,
    "margin": 8, "clamp": 128.0, "magnitude_decay": 0.9, "pyramid": False, "filtered": True, "bilinear": False,
    "transformed_input": True,
}  # fmt: skip


def former_generator(**fields: object) -> keras.Model:
    config = {"config": {**FORMER, **fields}, "name": "generator", "dtype": "float32"}
    return keras.saving.deserialize_keras_object(
        {"class_name": "Generator", "registered_name": "sg3tf>Generator", "module": "sg3tf.generator", "config": config}
    )


def test_former_names_of_fields() -> None:
    G = former_generator()
    assert type(G) is StyleGAN3Generator
    expected = GeneratorConfig(
        16, channel_base=64, channel_max=4, z_dim=4, w_dim=4, conv_kernel=1, use_radial_filters=True, margin_size=8,
        conv_clamp=128.0, magnitude_ema_beta=0.9,
    )  # fmt: skip
    assert G.config == expected


def test_a_former_generator_with_a_pyramid_is_an_ablation() -> None:
    G = former_generator(pyramid=True, num_layers=6, filtered=False, radial=False, kernel=3)
    assert type(G) is AblationGenerator
    assert G.config.num_layers == 6 and not G.config.filtered


def test_a_former_generator_that_is_no_longer_built() -> None:
    with pytest.raises(ValueError, match=r"'filtered': False.* without a pyramid of sampling rates is no longer built"):
        former_generator(filtered=False)


def test_former_names_of_arguments_of_layers() -> None:
    layer = keras.saving.deserialize_keras_object(
        {
            "class_name": "Mapping",
            "registered_name": "sg3tf>Mapping",
            "module": "sg3tf.layers.mapping",
            "config": {"z_dim": 4, "label_dim": 0, "w_dim": 4, "num_layers": 2, "track_average": True},
        }
    )
    assert layer.track_w_avg
    plan = dataclasses.asdict(plan_synthesis(GeneratorConfig(16, channel_base=64, channel_max=4)).layers[0])
    plan["kernel"], plan["radial"] = plan.pop("conv_kernel"), plan.pop("use_radial_filters")
    plan |= {"filtered": True, "bilinear": False}
    layer = keras.saving.deserialize_keras_object(
        {
            "class_name": "SynthesisLayer",
            "registered_name": "sg3tf>SynthesisLayer",
            "module": "sg3tf.layers.synthesis",
            "config": {"plan": plan, "clamp": 2.0, "magnitude_decay": 0.5},
        }
    )
    assert (layer.plan.conv_kernel, layer.conv_clamp, layer.magnitude_ema_beta) == (3, 2.0, 0.5)
