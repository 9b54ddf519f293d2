"""The Makefile finds a Python that TensorFlow has wheels for, and replaces an environment of another."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout of the Makefile alone."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "bin").mkdir()
    return tmp_path


def add_python(file: Path, *version: int) -> None:
    """A Python that says it is of another version, and only prints the arguments of `-m MODULE`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pretend = f"import sys; sys.version_info = {(*version, 0)}; "
    file.write_text(f"""#!/bin/sh
[ "$1" = -c ] || {{ echo "{file.name} $*"; exit; }}
exec {sys.executable} -I -S -c "{pretend}$2"
""")
    file.chmod(0o755)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_python_is_not_newer_than_tensorflow(folder: Path) -> None:
    add_python(folder / "bin/python3", 3, 14)
    add_python(folder / "bin/python3.13", 3, 13)
    done = make(folder, ".venv/.installed")
    assert "python3.13 -m venv --clear .venv\n" in done.stdout, done  # which makes it, where there is none


def test_an_environment_keeps_its_python(folder: Path) -> None:
    """Otherwise a newer python3 would remove what was installed into it, after any change of pyproject.toml."""
    add_python(folder / "bin/python3", 3, 13)
    python = folder / ".venv/bin/python"
    add_python(python, 3, 12)
    python.write_text(python.read_text().replace("exec", "echo noise >&2; exec"))
    done = make(folder, ".venv/.installed")
    assert "python -m venv .venv\n" in done.stdout and done.returncode == 0, done


@pytest.mark.parametrize("target", [".venv/.installed", ".venv-beam/.installed", ".venv-clients/.installed"])
@pytest.mark.parametrize("version", [(3, 14), (3, 10)])
def test_other_versions_are_refused(folder: Path, target: str, version: tuple[int, int]) -> None:
    add_python(folder / "bin/pythonX", *version)
    done = make(folder, "PYTHON=pythonX", target)
    assert done.returncode and "no Python 3.11 to 3.13 found" in done.stdout and "-m venv" not in done.stdout


@pytest.mark.parametrize("folder_of_environment", [".venv", ".venv-beam"])
def test_an_environment_of_another_python_is_replaced(folder: Path, folder_of_environment: str) -> None:
    """Where it is kept, `python -m venv` leaves the old bin/python."""
    add_python(folder / "bin/pythonX", 3, 13)
    add_python(folder / folder_of_environment / "bin/python", 3, 14)
    done = make(folder, "PYTHON=pythonX", f"{folder_of_environment}/.installed")
    assert f"pythonX -m venv --clear {folder_of_environment}\n" in done.stdout, done


@pytest.mark.parametrize("has_python", [True, False])
def test_the_environment_of_a_moved_checkout_is_made_again(tmp_path: Path, folder: Path, has_python: bool) -> None:
    """Its programs name the old folder."""
    add_python(folder / "bin/pythonX", 3, 13)
    add_python(folder / ".venv/bin/python", 3, 13)
    assert make(folder, "PYTHON=pythonX", ".venv/.installed").returncode == 0
    assert "is up to date" in make(folder, "PYTHON=pythonX", ".venv/.installed").stdout
    if has_python:
        folder = folder.rename(tmp_path.with_name(f"{tmp_path.name} moved"))
    else:
        (folder / ".venv/bin/python").rename(folder / ".venv/bin/python3")
    again = make(folder, "PYTHON=pythonX", ".venv/.installed")
    assert "pythonX -m venv --clear .venv\n" in again.stdout, again
    (folder / ".venv/.installed").write_text("")  # of an earlier revision
    add_python(folder / ".venv/bin/python", 3, 13)
    assert "is up to date" in make(folder, "PYTHON=pythonX", ".venv/.installed").stdout


@pytest.mark.parametrize("made_in", ["", "/another/checkout\n"])
@pytest.mark.parametrize("version", [(3, 12), (3, 13)])
def test_an_environment_behind_a_link_is_left(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, made_in: str, version: tuple[int, int]
) -> None:
    environment = tmp_path_factory.mktemp("another")
    add_python(folder / "bin/pythonX", 3, 13)
    add_python(environment / "bin/python", *version)
    (environment / ".installed").write_text(made_in)
    os.utime(environment / ".installed", (0, 0))
    (folder / ".venv").symlink_to(environment)
    assert "is up to date" in make(folder, "PYTHON=pythonX", ".venv/.installed").stdout
    (environment / ".installed").unlink()  # a disk with more room, for example
    done = make(folder, "PYTHON=pythonX", ".venv/.installed")
    assert "pythonX -m venv .venv\n" in done.stdout and done.returncode == 0, done
    assert (environment / ".installed").read_text() == f"{folder}\n"


def stand_in(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


def test_fast_tests_run_without_bazel_and_npm(folder: Path) -> None:
    (folder / "custom_ops").mkdir()
    stand_in(folder / "custom_ops/install.sh", "echo no bazel; exit 3")
    stand_in(folder / "bin/npm", "echo noise; echo no network >&2; exit 1")
    for environment in (".venv", ".venv-clients"):
        add_python(folder / environment / "bin/python", 3, 13)
    stand_in(folder / ".venv/bin/python", "env | grep ^PYTHONUNBUFFERED; echo python $*")
    (folder / ".venv/.installed").write_text(f"{folder}\n")
    done = make(folder, "test-fast", "TEST_GROUPS=tests/a", "PYTHONUNBUFFERED=1")
    lines = ["no bazel", "tests of native operations are skipped", "== tests/a"]
    assert done.stdout.splitlines() == [*lines, "python -m pytest tests/a -m not slow"], done
    stand_in(folder / "custom_ops/install.sh", "exit 1")  # does not compile
    assert make(folder, "test-fast", "TEST_GROUPS=tests/a").returncode == 2

    (folder / "serving/explorer").mkdir(parents=True)
    (folder / "serving/explorer/package-lock.json").touch()
    for target, words in {"explorer-tools": "the explorer", ".venv-clients/.installed": "the client for Node"}.items():
        done = make(folder, "PYTHON=.venv-clients/bin/python", target)
        assert done.returncode == 0 and f"npm cannot install: {words} is not tested\n" in done.stdout, done
        assert "no network" in done.stderr and "noise" not in done.stdout
        done = make(folder, "PYTHON=.venv-clients/bin/python", "CI=1", target)
        assert done.returncode and "not tested" not in done.stdout, done
    assert not (folder / ".venv-clients/.installed").exists()


@pytest.mark.parametrize("browser", ["chromium-browser", "google-chrome", None])
def test_any_browser_is_found(folder: Path, browser: str | None) -> None:
    """Dash looks for only the first name of `command -v`."""
    stand_in(folder / "bin/apt-get", "exit 1")
    for name in ("make", "sh", "id", "cat"):
        found = shutil.which(name)
        assert found
        (folder / "bin" / name).symlink_to(found)
    if browser:
        stand_in(folder / "bin" / browser, "")
    environment = {"PATH": str(folder / "bin")}
    done = subprocess.run(["make", "explorer-tools"], cwd=folder, env=environment, capture_output=True, text=True)
    assert ("no Chromium" in done.stdout) == (browser is None), done


def test_pages_and_package_say_the_same() -> None:
    supported = re.search(r"\((\d+), (\d+)\) <= sys.version_info < \((\d+), (\d+)\)", (ROOT / "Makefile").read_text())
    assert supported
    low, high = f"{supported[1]}.{supported[2]}", f"{supported[3]}.{supported[4]}"
    assert f'requires-python = ">={low},<{high}"' in (ROOT / "pyproject.toml").read_text()
    newest = f"{supported[3]}.{int(supported[4]) - 1}"
    for page in ("README.md", "docs/quickstart.md"):
        assert f"Python {low} to {newest}" in (ROOT / page).read_text()
