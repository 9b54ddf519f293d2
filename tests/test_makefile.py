"""The Makefile finds a Python that TensorFlow has wheels for, and replaces an environment of another."""

from __future__ import annotations

import re
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


def test_pages_and_package_say_the_same() -> None:
    supported = re.search(r"\((\d+), (\d+)\) <= sys.version_info < \((\d+), (\d+)\)", (ROOT / "Makefile").read_text())
    assert supported
    low, high = f"{supported[1]}.{supported[2]}", f"{supported[3]}.{supported[4]}"
    assert f'requires-python = ">={low},<{high}"' in (ROOT / "pyproject.toml").read_text()
    newest = f"{supported[3]}.{int(supported[4]) - 1}"
    for page in ("README.md", "docs/quickstart.md"):
        assert f"Python {low} to {newest}" in (ROOT / page).read_text()
