"""python -m trainer.main as a process, with the smallest networks, and what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.helpers.tiny_run import SIZE

ROOT = Path(__file__).parents[2]
BATCH = 8
#: Of the run's folder, after its number, with the data set `faces`.
NAME = f"stylegan3-t-faces-batch{BATCH}-gamma0.05"
HANGS_AFTER_S = 600

Item = TypeVar("Item")


def flags(outdir: Path, data: Path, **more: Any) -> list[str]:
    """Command line of a run on the CPU; an option that is None is left out."""
    values = {"outdir": outdir, "data": data, "batch": BATCH, "gamma": 0.05, **SIZE, "strategy": "cpu"}
    values |= {"metrics": "none", **more}
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def start(
    arguments: Sequence[str], environment: dict[str, str] | None = None, module: str = "trainer.main"
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit status, stdout, stderr)"""
    try:
        out, err = process.communicate(timeout=HANGS_AFTER_S)
    except BaseException:
        process.kill()
        raise
    return process.returncode, out, err


def only(items: Iterable[Item]) -> Item:
    (item,) = items
    return item


def scalars(run: Path) -> list[dict[str, float]]:
    """{name: mean} of every tick"""
    lines = (run / "stats.jsonl").read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return [{name: value["mean"] for name, value in row.items() if name != "timestamp"} for row in rows]
