"""Generator.from_preset: architectures, and networks that come with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sg3tf
from sg3tf.models import loading, presets
from sg3tf.models.configs import ConfigError
from sg3tf.models.generators import AblationGenerator
from tests.helpers.dtype_policy import global_dtype_policy

ROOT = Path(__file__).parents[3]
TINY = {"channel_base": 64, "channel_max": 4, "z_dim": 4, "w_dim": 4}


def test_a_trained_preset() -> None:
    G = sg3tf.Generator.from_preset("portraits-32")
    shipped = sg3tf.load(ROOT / "examples" / "portraits-32.keras")
    z = sg3tf.latents.z_from_seeds([0, 1])
    assert type(G) is sg3tf.StyleGAN3Generator
    np.testing.assert_array_equal(G(z), shipped(z))
    fresh = sg3tf.Generator.from_preset("portraits-32", load_weights=False)
    assert fresh.config == G.config
    assert np.abs(fresh(z) - G(z)).max() > 0.1


def test_a_trained_preset_has_its_name_where_a_path_may_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path("portraits-32-conditional")
    assert loading.generator_file(name) == loading.generator_file(name.absolute()) == presets.trained_file(name.name)
    assert loading.class_names(name)[3] == "long red hair"
    with pytest.raises(FileNotFoundError, match="holds no generator|no such file or folder"):
        loading.generator_file(tmp_path / "elsewhere" / name)
    name.mkdir()
    with pytest.raises(FileNotFoundError, match="holds no generator"):  # what is there comes first
        loading.generator_file(name)


@pytest.mark.parametrize(
    ("preset", "kind"),
    [
        ("stylegan3-t", sg3tf.StyleGAN3Generator),
        ("stylegan3-r", sg3tf.StyleGAN3Generator),
        ("stylegan3-d", AblationGenerator),
        ("stylegan3-b", sg3tf.StyleGAN2Generator),
        ("stylegan2", sg3tf.StyleGAN2Generator),
        ("stylegan1", sg3tf.StyleGAN1Generator),
    ],
)
def test_an_architecture_has_its_class(preset: str, kind: type) -> None:
    G = sg3tf.Generator.from_preset(preset, resolution=16, **TINY)
    assert type(G) is kind and isinstance(G, sg3tf.Generator)
    assert type(kind.from_preset(preset, resolution=16, **TINY)) is kind


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "stylegan4", "resolution": 16}, "preset='stylegan4': .*stylegan3-t, .*stylegan1.* portraits-32"),
        ({"preset": "stylegan3-t"}, "resolution is missing: preset='stylegan3-t' is an architecture"),
        ({"preset": "portraits-32", "resolution": 64}, "preset='portraits-32': .* its own resolution; leave it out"),
        ({"preset": "portraits-32", "z_dim": 4, "w_dim": 4}, "its own w_dim, z_dim"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sg3tf.Generator.from_preset(**arguments)


def test_a_preset_of_another_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="preset='stylegan2': is a StyleGAN2Generator, not a StyleGAN3Generator"):
        sg3tf.StyleGAN3Generator.from_preset("stylegan2", resolution=16, **TINY)


def test_dtype_and_name() -> None:
    policy = "mixed_bfloat16"
    for preset, size in {"portraits-32": {}, "stylegan3-t": {"resolution": 16, **TINY}}.items():
        G = sg3tf.Generator.from_preset(preset, **size, dtype=policy, name="faces")
        assert (G.dtype_policy.name, G.name) == (policy, "faces")
    plain = sg3tf.Generator.from_preset("portraits-32")
    mixed = sg3tf.Generator.from_preset("portraits-32", dtype=policy)
    for one, other in zip(plain.get_weights(), mixed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    D = sg3tf.Discriminator.from_preset("stylegan3-t", 16, channel_base=64, channel_max=4, dtype=policy, name="critic")
    assert (D.dtype_policy.name, D.name) == (policy, "critic")


def test_a_missing_file_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(presets, "TRAINED_FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=r"portraits-32.keras is missing; install sg3tf from a wheel or a checkout"):
        sg3tf.Generator.from_preset("portraits-32")


def test_a_configuration_of_another_class_is_refused() -> None:
    config = sg3tf.StyleGAN2Config(16)
    with pytest.raises(ConfigError, match="config is a StyleGAN2Config: StyleGAN3Generator takes a GeneratorConfig"):
        sg3tf.StyleGAN3Generator(config)
    with pytest.raises(TypeError, match="BaseGenerator is abstract: use from_preset"):
        sg3tf.Generator(config)


def test_a_subclass_makes_its_own_kind() -> None:
    class Red(sg3tf.StyleGAN3Generator):
        def call(self, inputs, **more):
            return super().call(inputs, **more) * [1, 0, 0]

    z = sg3tf.latents.z_from_seeds([0])
    red = Red.from_preset("portraits-32")
    assert type(red) is Red
    with global_dtype_policy("mixed_float16"):
        assert Red.from_preset("portraits-32").dtype_policy.name == "float32"  # as the file says
    np.testing.assert_allclose(red(z), sg3tf.Generator.from_preset("portraits-32")(z) * [1, 0, 0], atol=1e-6)
    assert type(Red.from_preset("stylegan3-t", resolution=16, **TINY)) is Red
    with pytest.raises(ConfigError, match="preset='stylegan2': is a StyleGAN2Generator, not a Red; use its"):
        Red.from_preset("stylegan2", resolution=16, **TINY)

    class OfNone(sg3tf.Generator):
        pass

    with pytest.raises(ConfigError, match="is a StyleGAN3Generator, not a OfNone; derive the class from that"):
        OfNone.from_preset("stylegan3-t", resolution=16, **TINY)
