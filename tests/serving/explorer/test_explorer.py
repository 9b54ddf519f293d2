"""The explorer: its built files, its TypeScript against values from Python, and every feature in a browser."""

import filecmp
import gzip
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sg3tf
from sg3tf import latents
from sg3tf.cli.main import main
from sg3tf.editing import directions
from sg3tf.generate import latents_file
from sg3tf.generate.open_network import open_network
from tests.helpers.tools import CHROMIUM, skip
from tests.helpers.video_files import decoded
from tests.serving.explorer import reference

ROOT = Path(__file__).parents[3]
EXPLORER = ROOT / "serving" / "explorer"
EXAMPLE = ROOT / "examples" / "portraits-32.keras"


@pytest.fixture(scope="module")
def npx():
    """Runs a program of node_modules, and fails with its output."""
    if not (EXPLORER / "node_modules").is_dir():
        skip("serving/explorer/node_modules is missing: make explorer-tools installs it, and needs Node and npm")

    def run(*arguments, **environment):
        command = ["node", f"node_modules/.bin/{arguments[0]}", *map(str, arguments[1:])]
        done = subprocess.run(
            command,
            cwd=EXPLORER,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    return run


def test_built_files_are_those_of_the_sources(npx, tmp_path):
    npx("vite", "build", f"--outDir={tmp_path / 'dist'}", "--logLevel=error")
    built = sorted(file.name for file in (tmp_path / "dist").iterdir())
    _, different, missing = filecmp.cmpfiles(tmp_path / "dist", EXPLORER / "dist", built, shallow=False)
    assert not different + missing, "serving/explorer/dist is stale: make explorer"
    assert built == sorted(file.name for file in (EXPLORER / "dist").iterdir())


def test_built_files_are_small_and_make_no_code_from_text():
    files = [file.read_bytes() for file in (EXPLORER / "dist").iterdir()]
    assert sum(len(gzip.compress(content)) for content in files) < 300_000
    assert not [content for content in files if b"eval(" in content or b"new Function" in content]


def test_types_and_units(npx, tmp_path):
    npx("tsc", "--noEmit")
    reference.write(tmp_path)
    npx("vitest", "run", "--project=unit", EXPLORER_REFERENCE=str(tmp_path))


@pytest.fixture(scope="module")
def generator():
    return sg3tf.load(EXAMPLE)


@pytest.fixture(scope="module")
def page_server(generator, fake_generator, stylegan2, start_server, tmp_path_factory):
    """A server of the example network, a labeled one, an old export, a StyleGAN2, a wide one, standardized labels."""
    from serving import saved_model

    folder = tmp_path_factory.mktemp("explorer")
    base = folder / "models"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "validate_export", lambda *_: {})  # other tests have it
        assert saved_model.export_saved_model(generator, base).name == "1"
        names = {"classes": ["<b>tabby</b>", "manx"]}
        assert saved_model.export_saved_model(fake_generator, base, metadata=names).name == "2"
        with tarfile.open(ROOT / "tests/data/legacy/saved_model/version.tar.xz") as archive:
            archive.extractall(folder / "legacy", filter="data")
        (old,) = (folder / "legacy").rglob("saved_model.pb")
        old.parent.rename(base / "3")
        assert saved_model.export_saved_model(stylegan2, base).name == "4"
        tiny = {"channel_base": 256, "channel_max": 8, "z_dim": 16, "w_dim": 16}
        wide = sg3tf.Generator.from_preset("stylegan3-t", resolution=(32, 16), **tiny)
        assert saved_model.export_saved_model(wide, base).name == "5"
        scale = {"label_scale": {"mean": [40, 0.5], "std": [10, 0.002]}}
        assert saved_model.export_saved_model(fake_generator, base, metadata=scale).name == "6"
    config = folder / "models.config"
    config.write_text(
        f"""model_config_list {{ config {{ name: "fake" base_path: "{base}" model_platform: "tensorflow"
        model_version_policy {{ all {{}} }}
        version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "old" value: 3 }} }} }}"""
    )
    return start_server(None, f"--model_config_file={config}")


def write_points(folder, generator):
    """Files for the example network: points.npz, two latents, and steer.npz, two directions."""
    rng = np.random.default_rng(1)
    w = rng.standard_normal([50, 512])
    directions.save(folder / "steer.npz", directions.Directions.of(["pc0", "pc1"], w[:2], w, list(range(16))))
    ws = generator.mapping(latents.z_from_seeds([3, 8]), truncation_psi=0.7).numpy()
    latents_file.save(folder / "points.npz", latents_file.Latents(ws, seeds=np.array([3, 8])))


@pytest.mark.slow  # a server of six networks and a browser with 27 tests take a minute
def test_every_feature_in_a_browser(npx, generator, page_server, tmp_path):
    if not CHROMIUM:
        skip("no Chromium: the explorer was not tried in a browser (make explorer-tools installs it where it may)")
    reference.write(tmp_path)
    write_points(tmp_path, generator)
    out = tmp_path / "out"
    out.mkdir()
    folders = {"EXPLORER_REFERENCE": str(tmp_path), "EXPLORER_OUT": str(out)}
    npx("vitest", "run", "--project=e2e", EXPLORER_SERVER=page_server.rest, EXPLORER_CHROMIUM=CHROMIUM, **folders)
    assert "Traceback" not in page_server.log.read_text()
    check_downloads(out)


def check_downloads(out):
    """Files that the page has saved are read by sg3tf, and equal those that it writes itself."""
    network = open_network(str(EXAMPLE))
    saved = latents_file.load(out / "explorer.npz", network)
    page = np.asarray(Image.open(out / "seed0001.png"))
    np.testing.assert_allclose(network.synthesize(saved.ws, saved.transform)[0].astype(int), page, atol=1)
    arrays = saved.arrays()
    latents_file.save(out / "again.npz", saved)
    assert (out / "again.npz").read_bytes() == (out / "explorer.npz").read_bytes(), sorted(arrays)
    command = (out / "command.txt").read_text().split()
    assert command[:3] == ["sg3tf", "generate", "images"]
    flags = [flag for flag in command[3:] if not flag.startswith(("--network", "--outdir"))]
    assert main(["generate", "images", f"--network={EXAMPLE}", f"--outdir={out}/cli", *flags]) == 0
    with Image.open(out / "cli" / "seed0003.png") as drawn, Image.open(out / "seed0003.png") as downloaded:
        np.testing.assert_allclose(np.asarray(drawn, int), np.asarray(downloaded, int), atol=1)
        ours, theirs = downloaded.text, drawn.text
        assert ours.keys() == theirs.keys()
        same = set(ours) - {"Software", "network", "transform"}
        assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}
        np.testing.assert_allclose(json.loads(ours["transform"]), json.loads(theirs["transform"]), atol=1e-7)
    with zipfile.ZipFile(out / "path.zip") as frames:
        assert len(frames.namelist()) == 12
        keyframe = np.asarray(Image.open(frames.open("000000.png")), int)
    for name in ("path.webm", "path.mp4"):
        fps, film = decoded(out / name, 256, 256)
        assert (name, fps, len(film)) == (name, 20, 12)
        small = film[0].reshape(32, 8, 32, 8, 3).mean((1, 3))
        assert np.abs(small - keyframe).mean() < 8, name  # levels; the film is enlarged smoothly and compressed
    assert decoded(out / "wide.mp4", 256, 512)[1].shape[1:] == (256, 512, 3)
