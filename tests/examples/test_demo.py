"""The demo: from a trained network to a page of results, interrupted and continued."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import demo
import numpy as np
import pytest
import results_page
from absl import flags
from PIL import Image

import sg3tf
from sg3tf.data.dataset import open_dataset
from sg3tf.models.presets import generator_preset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "tiny.keras"
    G = sg3tf.Generator.from_preset("stylegan3-t", resolution=16, channel_base=128, channel_max=8)
    G(sg3tf.latents.z_from_seeds(range(1)))
    G.save(path)
    return path


def start_demo(out: Path, network: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "examples/demo/demo.py"), f"--out={out}", f"--network={network}", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, process_group=0)


@pytest.mark.slow  # trains, exports and serves in processes of its own
def test_an_interrupted_demo_runs_to_the_end_when_called_again(network: Path, tmp_path: Path) -> None:
    short, out = ["--portraits=40", "--kimg=0.5"], tmp_path / "demo"
    with start_demo(tmp_path, network, *short) as process:
        while process.poll() is None and not list(out.glob("training/*/fakes000000.png")):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=100)
    assert process.returncode == 130 and err.endswith("demo: stopped; run the demo again to continue\n"), err[-3000:]
    (run,) = (out / "training").iterdir()
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert int(checkpoint.name) < 500

    with start_demo(tmp_path, network, *short) as process:
        output, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-3000:]
    assert "Resuming from" in output and "python -m" not in output
    assert all(f"$ sg3tf {command} --" in output for command in ("train", "export", "serve", "generate grid"))
    assert list((out / "training").iterdir()) == [run]
    assert max(path.name for path in (run / "checkpoints").iterdir()) == "000000504"  # 63 batches of 8
    assert [path.name for path in (out / "models/sg3").iterdir()] == ["1"]
    assert Image.open(out / "served.png").size == (8 * 16, 4 * 16)
    assert Image.open(out / "interpolation.gif").size == (4 * 16, 16)
    assert "examples/demo/demo.py --network=" in (out / "results.html").read_text()


def test_own_pictures_become_a_data_set(network: Path, tmp_path: Path) -> None:
    """Of those in folders, too, whatever their labels, which the demo does not use."""
    pictures = tmp_path / "holiday"
    rng = np.random.default_rng(0)
    for index in range(24):
        file = pictures / ("", "beach", "hills")[min(index, 2)] / f"{index}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(file)
    (pictures / "hills" / "dataset.json").write_text('{"labels": [["2.jpg", 0]]}')
    data = demo._make_data(SimpleNamespace(data=str(pictures), network=str(network)), tmp_path)
    assert (len(open_dataset(data)), open_dataset(data).resolution) == (24, 16)


@pytest.mark.parametrize("cfg", ["stylegan3-t", "stylegan3-r"])
def test_training_starts_from_a_network_of_the_same_shape(cfg: str, tmp_path: Path) -> None:
    size = {"resolution": 16, "channel_base": 64, "channel_max": 4, "mapping_layers": 3}
    path = tmp_path / "tiny.keras"
    G = sg3tf.Generator.from_preset(cfg, **size)
    G.save(path)
    flags = demo.network_flags(path)
    again = {"channel_base": flags["cbase"], "channel_max": flags["cmax"], "mapping_layers": flags["map_depth"]}
    assert generator_preset(flags["cfg"], flags["resolution"], **again) == G.config


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"--network=.*a\.keras: not the \.keras file of a generator"):
        demo.network_flags(tmp_path / "a.keras")


@pytest.mark.parametrize(
    ("done_nimg", "page", "length"),
    [
        (4000, "none", "12"),
        (4000, "newer", "12"),
        (12000, "newer", "20"),
        (12000, "older", ""),  # stopped after the training
        (12000, "none", ""),
    ],
)
def test_an_interrupted_run_is_finished_and_a_shown_one_trains_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done_nimg: int, page: str, length: str
) -> None:
    run = tmp_path / "training/00000-run"
    (run / f"checkpoints/{done_nimg:09d}").mkdir(parents=True)
    (run / "options.json").write_text(json.dumps({"kimg": 12.0}))
    if page != "none":
        (tmp_path / "results.html").touch()
        os.utime(tmp_path / "results.html", (4e9, 4e9) if page == "newer" else (1, 1))
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(demo, "_python", lambda *arguments, **_: commands.append(arguments))
    assert demo._train(SimpleNamespace(kimg=8.0), tmp_path, tmp_path / "data") == run
    train = ("-m", "sg3tf", "train", f"--resume={run}", f"--kimg={length}")
    assert commands == ([train] if length else [])


def options_of(**given: str) -> flags.FlagValues:
    options = flags.FlagValues()
    demo.define_flags(options)
    options(["demo", *(f"--{name}={value}" for name, value in given.items())])
    return options


def test_a_folder_keeps_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other pictures with a folder of the same name, or another network, are not taken for those of the first call."""
    out = tmp_path / "demo-images"
    out.mkdir()
    demo._keep_source(options_of(data="/typo/images"), out)  # no data set was made of it
    demo._keep_source(options_of(data="/cats/images"), out)
    (out / "data").mkdir()
    demo._keep_source(options_of(data="/cats/images/"), out)
    monkeypatch.chdir("/")
    demo._keep_source(options_of(data="cats/images"), out)
    with pytest.raises(
        ValueError, match=r"^--data=/dogs/images: \S+demo-images was begun with --data=/cats/images; .*"
    ):
        demo._keep_source(options_of(data="/dogs/images"), out)
    with pytest.raises(ValueError, match=r"^--network=other\.keras: \S+ was begun without --network; "):
        demo._keep_source(options_of(data="/cats/images", network="other.keras"), out)
    (out / "source.json").unlink()  # of an earlier version
    demo._keep_source(options_of(data="/dogs/images"), out)


def test_pictures_that_are_added_later_are_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, out = tmp_path / "holiday", tmp_path / "out"
    (pictures / "beach").mkdir(parents=True)
    (pictures / "beach" / "1.jpg").touch()
    out.mkdir()
    options = options_of(data=str(pictures))
    for _ in range(2):
        demo._keep_source(options, out)
        (out / "data").mkdir(exist_ok=True)
    assert capsys.readouterr().out == ""
    (pictures / "beach" / "2.jpg").touch()
    for _ in range(2):
        demo._keep_source(options, out)
        expected = f"new pictures in {pictures} are not used; to start over, remove {out}\n"
        assert capsys.readouterr().out == expected
    source = json.loads((out / "source.json").read_text())
    del source["files"]  # as an earlier revision wrote it
    (out / "source.json").write_text(json.dumps(source))
    demo._keep_source(options, out)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ({}, "make demo"),
        ({"data": "my pictures"}, "make demo 'DATA=my pictures'"),
        ({"network": "my.keras"}, ".venv/bin/python examples/demo/demo.py --network=my.keras"),
        ({"data": "a b", "out": "c d"}, ".venv/bin/python examples/demo/demo.py '--data=a b' '--out=c d'"),
    ],
)
def test_the_next_commands_can_be_pasted(given: dict[str, str], command: str) -> None:
    commands = demo._next_commands(options_of(**given), Path("c d/training/00000-a"), Path("c d/models"))
    first, *others = [re.split(r"  +", line, maxsplit=1)[1] for line in commands.splitlines()]
    assert first == command
    words = [word for other in others for word in shlex.split(other)]
    expected = {"--logdir=c d/training", "--network=c d/training/00000-a", "--model_base_path=c d/models"}
    assert expected <= set(words)


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_the_native_build_is_stopped_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_interrupted: bool
) -> None:
    """Of the shell that is started, only Bazel, its child, takes long."""
    child = f"trap 'touch {tmp_path}/stopped; exit 1' TERM; touch {tmp_path}/started; sleep 60 & wait"
    script = tmp_path / "custom_ops/install.sh"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nsh -c "{child}"\n')
    script.chmod(0o755)
    monkeypatch.setattr(demo, "_ROOT", tmp_path)
    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), demo._native_build(tmp_path) as build:
        while not (tmp_path / "started").exists():
            time.sleep(0.02)
        if is_interrupted:
            threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
            demo._wait_for(build, tmp_path)
    while not (tmp_path / "stopped").exists() and time.monotonic() < started + 20:
        time.sleep(0.02)
    assert (tmp_path / "stopped").exists()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("", "demo"),
        ("/a/photos", "demo-photos"),
        ("/a/photos/", "demo-photos"),
        ("/a/photos.zip", "demo-photos.zip"),
        ("/a/photos.2024", "demo-photos.2024"),
        ("/a/photos/.", "demo-photos"),
    ],
)
def test_the_name_of_the_folder(data: str, name: str) -> None:
    assert demo._folder(options_of(data=data, out="runs")) == Path("runs") / name


def test_frames_of_a_stopped_interpolation_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are labeled with the port of a server that is gone, so that no later call could use them."""
    kept = tmp_path / ".interpolation.gif.frames"
    label = {"network": "grpc://127.0.0.1:1/sg3 version 1"}
    kept.mkdir()
    (kept / "film.json").write_text(json.dumps(label, indent=2))
    (kept / "000000.png").touch()
    commands: list[tuple[str, ...]] = []

    def record(*arguments: str, **_: str) -> None:
        commands.append(arguments)
        assert "interpolate" not in arguments or not kept.exists()

    monkeypatch.setattr(demo, "_python", record)
    demo._ask_server("127.0.0.1:2", tmp_path)
    assert ["grid" in command for command in commands] == [True, False]


def test_ctrl_c_waits_for_the_step_to_save(tmp_path: Path) -> None:
    step = (
        "import pathlib, signal, sys, time\n"
        "def save(*_): time.sleep(1); pathlib.Path('saved').touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGINT, save); pathlib.Path('started').touch(); time.sleep(60)\n"
    )
    code = f"import sys, demo; from sg3tf.utils import command_line; step = {step!r}\n"
    code += "sys.exit(command_line.exit_status('demo', lambda: demo._python('-c', step)))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'examples/demo'}"}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, process_group=0
    ) as process:
        while process.poll() is None and not (tmp_path / "started").exists():
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all processes in the foreground
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"demo: stopped; run the demo again to continue\n")
    assert (tmp_path / "saved").exists()


def test_the_page_holds_its_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    run = tmp_path / "run"
    run.mkdir()
    (run / "options.json").write_text(json.dumps({"resolution": 4}))
    grids = {
        name: rng.integers(0, 256, (8 * 4, 16 * 4, 3), np.uint8) for name in ("reals", "fakes000000", "fakes000002_608")
    }
    for name, pixels in grids.items():
        Image.fromarray(pixels).save(run / f"{name}.png")
    for name in ("first.png", "served.png", "interpolation.gif"):
        Image.fromarray(grids["reals"]).save(tmp_path / name)
    page = results_page.write_results(tmp_path, run, {"Training": 120.0, "Export": 3.0}, "sg3tf <command>")
    text = page.read_text()
    assert "2.608 thousand" in text and "120 s" in text and "sg3tf &lt;command&gt;" in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    pictures = re.findall(r"data:image/(?:png|gif);base64,([^\"]+)", text)
    assert len(pictures) == 6
    rows = [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in pictures[2:4]]
    np.testing.assert_array_equal(rows[0], grids["fakes000000"][:4, :48])
    np.testing.assert_array_equal(rows[1], grids["fakes000002_608"][:4, :48])
