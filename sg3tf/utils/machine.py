"""Cores (by affinity) and memory (by control groups) that this process may use: at most the machine's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def num_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_bytes_of_memory() -> int:
    """Return the size of the memory that this process may use, in bytes, used or not."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *_limits()])


def _limits() -> Iterator[int]:
    """Yield the limits of the process's control groups, of either version, and of the groups that contain them."""
    groups = _OWN_GROUPS.read_text().splitlines() if _OWN_GROUPS.exists() else []
    for line in groups:  # such as 0::/slurm/job_7, or 9:memory:/docker/2a1f
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            top, name = _CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = _CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = top / group.lstrip("/")
        # In a container, its own group is mounted at the top.
        for place in {top, *(parent for parent in (folder, *folder.parents) if parent.is_relative_to(top))}:
            try:
                text = (place / name).read_text()
            except OSError:
                continue
            if text.strip().isdecimal():  # rather than "max"
                yield int(text)
