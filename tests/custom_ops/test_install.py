"""Files that custom_ops/install.sh leaves in sg3tf/ops/lib, with a Bazel that only writes files."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def install(tree: Path, content: str, *flags: str) -> set[str]:
    """Install libraries of that content; return names and contents of what is there."""
    (tree / "custom_ops").mkdir(exist_ok=True)
    shutil.copy(ROOT / "custom_ops/install.sh", tree / "custom_ops")
    (tree / "bin").mkdir(exist_ok=True)
    for name, line in {
        "bazel": f'for p in "$@"; do echo {content} >"bazel-bin/custom_ops/${{p#*:}}"; done',
        "g++": ":",
    }.items():
        (tree / "bin" / name).write_text(f"#!/bin/sh\ncase $1 in build) shift 2; ;; esac\n{line}\n")
        (tree / "bin" / name).chmod(0o755)
    (tree / "bazel-bin/custom_ops").mkdir(parents=True, exist_ok=True)
    environment = {"PATH": f"{tree / 'bin'}:/usr/bin:/bin"}
    subprocess.run([tree / "custom_ops/install.sh", "true", *flags], env=environment, check=True)
    return {f"{file.name}: {file.read_text().strip()}" for file in (tree / "sg3tf/ops/lib").iterdir()}


@pytest.mark.parametrize("is_new", [False, True])
def test_libraries_are_of_one_build(tmp_path: Path, is_new: bool) -> None:
    """Both are loaded together: without --no-xla both are installed, with it the other is kept if it still fits."""
    all_three = {f"_sg3tf_native{end}: old" for end in (".so", ".json", "_xla.so")}
    assert install(tmp_path, "old") == all_three
    if is_new:
        assert install(tmp_path, "new", "--no-xla") == {"_sg3tf_native.so: new", "_sg3tf_native.json: new"}
    else:
        assert install(tmp_path, "old", "--no-xla") == all_three


@pytest.mark.parametrize(("limit", "jobs"), [("5000000000", 2), ("1000000", 1), ("max", 3), (None, 3)])
def test_jobs_fit_into_the_memory_of_a_container(tmp_path: Path, limit: str | None, jobs: int) -> None:
    """A container's limit is not in /proc/meminfo."""
    (tmp_path / "bin").mkdir()
    for name, line in {
        "cat": f"echo {limit}" if limit else "exit 1",
        "nproc": "echo 3",
        "awk": "echo 64",  # jobs that fit into the memory of the machine
        "g++": ":",
        "bazel": f'echo "$2" >"{tmp_path}/jobs"; exit 1',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    subprocess.run([ROOT / "custom_ops/install.sh", "true"], env=environment)
    assert (tmp_path / "jobs").read_text() == f"--jobs={jobs}\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="levels of x86-64")
def test_a_compiler_that_is_too_old(tmp_path: Path) -> None:
    for name, line in {"g++": "case $1 in -march=*) exit 1 ;; esac; echo 8", "bazel": ":"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([ROOT / "custom_ops/install.sh", "false"], env=environment, capture_output=True, text=True)
    assert done.returncode == 3 and done.stderr.startswith("g++ 8 is too old: install GCC 11 or later")


def test_a_library_for_xla_alone_is_removed(tmp_path: Path) -> None:
    install(tmp_path, "old")
    (tmp_path / "sg3tf/ops/lib/_sg3tf_native.so").unlink()
    assert install(tmp_path, "new", "--no-xla") == {"_sg3tf_native.so: new", "_sg3tf_native.json: new"}


def test_a_library_that_cannot_be_copied_is_an_error(tmp_path: Path) -> None:
    install(tmp_path, "old")
    product = tmp_path / "bazel-bin/custom_ops/_sg3tf_native.so"
    product.unlink()
    product.mkdir()
    with pytest.raises(subprocess.CalledProcessError):
        install(tmp_path, "new")
