"""Saves of checkpoints and exports in which one call of the operating system fails, each in turn, in one process.

Usage: LD_PRELOAD=LIBRARY python -m tests.helpers.fault_worker WHAT DATA FOLDER LIMIT SEED

WHAT is "checkpoint" or "export", LIBRARY that of fault_injection.c, DATA a data set, FOLDER empty, LIMIT the number of
failures to try, of all that there are. Prints a JSON line for each: {"call", "error", "raised", "message", "state"},
where state is "old", "new" or the problem, and the error of a short write is empty.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sg3tf.utils.files import verify_checksums
from tests.helpers import tiny_run

SHORT = -1  # a write of a half, which is no error
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EINTR, SHORT)

library: Any = ctypes.CDLL(None)
library.fault_last.restype = ctypes.c_char_p


def try_all(
    folder: Path, limit: int, seed: int, act: Callable[[int], None], inspect: Callable[[int], str]
) -> list[dict[str, Any]]:
    """Let act(number) fail at chosen calls; number counts the attempts, and inspect(number) names what is there."""
    library.fault_arm(os.fsencode(folder), ctypes.c_long(0), 0)
    act(0)
    count = library.fault_count()
    cases = [*itertools.product(range(1, count + 1), ERRORS)]
    random.Random(seed).shuffle(cases)
    results = []
    for number, (call, error) in enumerate(cases[:limit], start=1):
        library.fault_arm(os.fsencode(folder), ctypes.c_long(call), error)
        raised, message = "", ""
        try:
            act(number)
        except Exception as failure:
            raised, message = type(failure).__name__, str(failure)
        failed = library.fault_last().decode()
        library.fault_arm(b"", ctypes.c_long(0), 0)
        results.append(
            {
                **{
                    "call": failed,
                    "error": "" if error == SHORT else os.strerror(error),
                    "raised": raised,
                    "message": message,
                },
                **{"state": inspect(number), "calls": count},
            }
        )
    return results


def checkpoints(data: Path, folder: Path, limit: int, seed: int) -> list[dict[str, Any]]:
    """Save over a checkpoint that is there."""
    from trainer.state import TrainState

    state = TrainState(tiny_run.options(data))
    target = folder / "checkpoints" / "000000008"

    def save(number: int) -> None:
        state.step = number
        state.save(target)

    previous = 0

    def inspect(number: int) -> str:
        nonlocal previous
        if problem := verify_checksums(target):
            return problem
        if rest := [path.name for path in target.parent.iterdir() if path != target]:
            return f"left behind: {rest}"
        step = int(json.loads((target / "progress.json").read_text())["step"])
        found = {previous: "old", number: "new"}.get(step, f"step {step}")
        previous = step
        return found

    results = try_all(folder, limit, seed, save, inspect)
    state.restore(target)
    return results


def exports(data: Path, folder: Path, limit: int, seed: int) -> list[dict[str, Any]]:
    """Export beside a version that is there, without the trial in another process."""
    import sg3tf
    from serving import saved_model

    saved_model.validate_export = lambda *_: {}
    saved_model.write_warmup_requests = lambda *_: None
    G = sg3tf.Generator.from_preset("stylegan2", 8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)
    before: set[str] = set()

    def inspect(number: int) -> str:
        nonlocal before
        names = {path.name for path in folder.iterdir()}
        new, lost = names - before, before - names
        before = names
        broken = [name for name in names if not (folder / name / "assets.extra" / "sg3tf.json").is_file()]
        if lost or broken or len(new) > 1 or not all(name.isdecimal() for name in names):
            return f"lost {lost}, broken {broken}, new {new}"
        return "new" if new else "old"

    def export(number: int) -> None:
        if number == 1:
            inspect(0)
        saved_model.export_saved_model(G, folder)

    return try_all(folder, limit, seed, export, inspect)


if __name__ == "__main__":
    what, data, folder, limit, seed = sys.argv[1:]
    action = {"checkpoint": checkpoints, "export": exports}[what]
    for result in action(Path(data), Path(folder), int(limit), int(seed)):
        print(json.dumps(result))
