"""--runner=beam gives the same bytes as the local runner, here with Beam's DirectRunner.

apache-beam needs an environment of its own (docs/data.md); where it is not installed, most of this is skipped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sg3tf.data
from sg3tf.data.build.builder import build
from sg3tf.data.conversion import BuildConfig
from sg3tf.data.errors import DataError
from sg3tf.utils.extras import MissingExtraError

CONFIG = BuildConfig(8, crop="wide", shards=3, resize="box")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def beam() -> None:
    pytest.importorskip("apache_beam", reason="apache-beam is not installed")


@pytest.mark.usefixtures("beam")
@pytest.mark.parametrize(
    "options", [[], ["--runner=DirectRunner", "--direct_running_mode=multi_threading", "--direct_num_workers=2"]]
)
@pytest.mark.parametrize("max_images", [None, 5])
def test_the_same_bytes_as_the_local_runner(
    tmp_path: Path, image_folder: Path, options: list[str], max_images: int | None
) -> None:
    (image_folder / "bee" / "text.png").write_text("no image")
    reports = [
        build(image_folder, tmp_path / "local" / "x", CONFIG, max_images=max_images),
        build(image_folder, tmp_path / "beam" / "x", CONFIG, max_images=max_images, beam_options=options),
    ]
    assert reports[0].lines() == reports[1].lines()
    assert contents(tmp_path / "local" / "x") == contents(tmp_path / "beam" / "x")
    others = {name for name in contents(tmp_path / "beam" / "x") if not name.endswith(".tfrecords")}
    assert others == {"manifest.json", "records.index", "labels.npy"}


@pytest.mark.usefixtures("beam")
@pytest.mark.slow
def test_the_command_line_with_processes(tmp_path: Path, image_folder: Path) -> None:
    for runner in ("local", "beam"):
        command = [sys.executable, "-m", "sg3tf", "data", "build", f"--source={image_folder}", "--resolution=8"]
        options = "--beam_options=--direct_running_mode=multi_processing --direct_num_workers=2"
        command += [f"--outdir={tmp_path / runner / 'x'}", f"--runner={runner}", *[options] * (runner == "beam")]
        done = subprocess.run(
            command, cwd=Path(sg3tf.data.__file__).parents[2], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0
        assert done.stdout.startswith(f"{tmp_path / runner / 'x'}: 6 images at 8, 0 skipped\n")
    assert contents(tmp_path / "local" / "x") == contents(tmp_path / "beam" / "x")


@pytest.mark.usefixtures("beam")
def test_strict_fails_and_leaves_nothing(tmp_path: Path, image_folder: Path) -> None:
    (image_folder / "bee" / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"images: bee/text\.png: is not an image"):
        build(image_folder, tmp_path / "x", CONFIG, strict=True, beam_options=[])
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.usefixtures("beam")
def test_a_worker_that_fails_is_one_line(tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("sg3tf.data.build.beam.write_shard", fail)
    with pytest.raises(DataError, match=r"--runner=beam: the pipeline failed: .*disk full") as caught:
        build(image_folder, tmp_path / "x", CONFIG, beam_options=[])
    assert "\n" not in str(caught.value)


def test_without_the_package(tmp_path: Path, image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(
        MissingExtraError, match=r"--runner=beam needs the package apache-beam: pip install 'sg3tf\[beam\]'"
    ):
        build(image_folder, tmp_path / "x", CONFIG, beam_options=[])


def test_the_other_form_is_refused(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(DataError, match="--runner=beam needs --format=shards"):
        build(image_folder, tmp_path / "x", BuildConfig(8, format="ffhq"), beam_options=[])
