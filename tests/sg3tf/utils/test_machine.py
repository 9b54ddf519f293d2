"""Cores and memory of the process, with control groups written by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sg3tf.utils import machine

PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MIB = 2**20


def test_cores_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.num_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert machine.num_cores() == len(before)


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("", {}, PHYSICAL),
        ("0::/\n", {"memory.max": "max\n"}, PHYSICAL),
        ("0::/\n", {"memory.max": f"{64 * MIB}\n"}, 64 * MIB),  # in a container
        ("0::/slurm/job_7\n", {"slurm/job_7/memory.max": "max", "slurm/memory.max": f"{32 * MIB}"}, 32 * MIB),
        ("9:cpu,cpuacct:/a\n4:memory:/docker/2a\n", {"memory/memory.limit_in_bytes": f"{16 * MIB}"}, 16 * MIB),
        ("4:memory:/job\n", {"memory/job/memory.limit_in_bytes": f"{8 * MIB}", "memory.max": "1"}, 8 * MIB),
        ("4:memory:/job\n", {"memory/job/memory.limit_in_bytes": "9223372036854771712"}, PHYSICAL),
    ],
)
def test_memory_of_containers_and_jobs(
    groups: str, limits: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.write_text(groups)
    for name, text in limits.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(machine, "_OWN_GROUPS", own)
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "groups")
    assert machine.num_bytes_of_memory() == expected


def test_no_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "missing")
    assert machine.num_bytes_of_memory() == PHYSICAL
