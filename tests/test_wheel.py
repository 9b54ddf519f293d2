"""What a wheel holds: everything that a command needs beside its code, and nothing else.

A wheel is built by `make wheel-test`, in an environment that pip fills; here setuptools copies the files of one as they
would be, which takes no network, no version of setuptools that reads all of pyproject.toml, and no native build.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from sg3tf.models.presets import TRAINED_PRESETS

ROOT = Path(__file__).parents[1]

BUILD = """
import sys, tomllib
from setuptools import Distribution, find_namespace_packages
with open("pyproject.toml", "rb") as file:
    options = tomllib.load(file)["tool"]["setuptools"]
packages = find_namespace_packages(**options["packages"]["find"])
files = {"script_name": "setup.py", "packages": packages, "package_data": options["package-data"]}
command = Distribution(files).get_command_obj("build_py")
command.build_lib = sys.argv[1]
command.ensure_finalized()
command.run()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the files of a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([sys.executable, "-c", BUILD, folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_files_beside_the_code(wheel: Path) -> None:
    """Files as they are in the sources, where trained networks are links into examples/."""
    trained = [f"sg3tf/models/trained/{name}.keras" for name in TRAINED_PRESETS]
    names = ["sg3tf/py.typed", *trained, "sg3tf/models/trained/portraits-32-conditional-classes.json"]
    for folder in ("serving/explorer/dist", "serving/deploy"):
        names += [str(file.relative_to(ROOT)) for file in (ROOT / folder).rglob("*") if file.is_file()]
    assert "serving/explorer/dist/index.html" in names and "serving/deploy/docker-compose.yaml" in names
    for name in names:
        assert not (wheel / name).is_symlink(), name
        assert (wheel / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_nothing_else(wheel: Path) -> None:
    assert {path.name for path in wheel.iterdir()} == {"sg3tf", "trainer", "serving"}
    assert not any(path.name in ("tests", "node_modules", "src") for path in wheel.rglob("*"))
    code = {path.relative_to(ROOT) for top in ("sg3tf", "trainer", "serving") for path in (ROOT / top).rglob("*.py")}
    wanted = {path for path in code if "node_modules" not in path.parts}
    assert {path.relative_to(wheel) for path in wheel.rglob("*.py")} == wanted


def test_the_layout_that_is_read_here_is_that_of_the_package() -> None:
    """All that decides the files of a wheel is in [tool.setuptools]."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        options = tomllib.load(file)["tool"]["setuptools"]
    assert sorted(options) == ["dynamic", "package-data", "packages"]
    assert not (ROOT / "MANIFEST.in").exists()
