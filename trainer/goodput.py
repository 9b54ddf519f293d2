"""Goodput of a run: the share of its time that contributed to its weights, and what the rest was spent on."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from sg3tf.utils.files import hidden_name, process_token

FILE = "goodput.json"
CAUSES = ("productive", "lost", "startup", "saving")
WRITE_EVERY_S = 1.0


class Goodput:
    """Seconds of a run by cause, over all of its processes; time without a process is not counted.

    - productive: steps that contributed to the weights;
    - lost: steps after the checkpoint that a later process resumed from;
    - startup: from the start of a process to the end of its first step, including imports and building the step;
    - saving: image grids, snapshots, checkpoints and metrics.

    A thread keeps goodput.json up to date, so the time of a killed process is known to about a second.

    Args:
        run: run folder.
        productive_s: productive seconds of the run when its checkpoint was saved; None: unknown, or a new run.
        started: time.monotonic() at the start of the process; None: now.
    """

    def __init__(self, run: Path, productive_s: float | None = None, started: float | None = None) -> None:
        self._file = run / FILE
        self._partial = run / hidden_name(FILE, f".partial-{process_token()}")
        self._seconds = _read(self._file)
        if productive_s is not None:
            self._seconds["lost"] += max(self._seconds["productive"] - productive_s, 0.0)  # below 0: killed at once
            self._seconds["productive"] = productive_s
        self._cause, self._since = "startup", time.monotonic() if started is None else started
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="goodput", daemon=True)
        self._thread.start()

    def on_step(self) -> None:
        """Record the end of a step; the first step ends the startup."""
        if self._cause == "startup":
            self._begin("productive")

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Context whose time counts as saving."""
        interrupted = self._begin("saving")
        try:
            yield
        finally:
            self._begin(interrupted)

    def metrics(self) -> dict[str, float]:
        """Progress/goodput, and the seconds of each cause."""
        seconds = self._seconds_now()
        share = seconds["productive"] / max(sum(seconds.values()), 1e-9)
        return {"Progress/goodput": share, **{f"Goodput/{cause}_sec": seconds[cause] for cause in CAUSES}}

    def close(self) -> None:
        """Write the seconds for the last time."""
        self._closed.set()
        self._thread.join()
        self._write()

    def _begin(self, cause: str) -> str:
        """Charge the time until now to the current cause, switch to `cause`, and return the previous one."""
        with self._lock:
            self._charge()
            self._cause, previous = cause, self._cause
        return previous

    def _seconds_now(self) -> dict[str, float]:
        with self._lock:
            self._charge()
            return dict(self._seconds)

    def _charge(self) -> None:
        now = time.monotonic()
        self._seconds[self._cause] += now - self._since
        self._since = now

    def _keep_writing(self) -> None:
        while not self._closed.wait(WRITE_EVERY_S):
            self._write()

    def _write(self) -> None:
        """Replace the file, without flushing it to disk, which only matters in a power failure."""
        with contextlib.suppress(OSError):  # a full disk is reported where it matters more
            self._partial.write_text(json.dumps(self._seconds_now()) + "\n")
            self._partial.replace(self._file)


def _read(file: Path) -> dict[str, float]:
    try:
        values = json.loads(file.read_text())
        return {cause: float(values[cause]) for cause in CAUSES}
    except (OSError, ValueError, TypeError, LookupError):  # a new run, or one of an earlier revision
        return dict.fromkeys(CAUSES, 0.0)
