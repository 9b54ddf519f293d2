"""Progress of commands on stderr: a bar on a terminal, periodic lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self, TextIO, TypeVar

try:
    from tqdm import tqdm
except ModuleNotFoundError:  # the extras train and metrics install it
    tqdm = None

Item = TypeVar("Item")

#: Seconds between lines if stderr is not a terminal.
LOG_SECONDS = 30.0


class Progress:
    """Display of the number of finished items, their rate, and the time left.

    If stderr is not a terminal, or tqdm is not installed, it prints a line every LOG_SECONDS instead of a bar.

    Args:
        count: total number of items, including those already done.
        unit: name of the items.
        done: number of items already done.
        description: prefix that says what is done.
    """

    def __init__(self, count: int, unit: str = "images", done: int = 0, description: str = "") -> None:
        self.count, self.unit, self.done, self.description = count, unit, done, description
        self._done_before, self._started = done, time.monotonic()
        self._printed = self._started
        self._bar: Any = None
        if has_terminal():
            # Not immediately: an error in the first item should be the only line.
            options = {"desc": description or None, "unit": f" {unit}", "file": sys.stderr, "delay": 0.1}
            self._bar = with_monotonic_clock(tqdm(total=count, initial=done, **options))

    def update(self, number: int = 1) -> None:
        """Count `number` more items as done."""
        self.done += number
        if self._bar is not None:
            self._bar.update(number)
        elif time.monotonic() - self._printed >= LOG_SECONDS:
            self._printed = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)

    def _line(self) -> str:
        rate = (self.done - self._done_before) / (time.monotonic() - self._started)
        left = f", {duration((self.count - self.done) / rate)} left" if rate else ""
        start = f"{self.description}: " if self.description else ""
        return f"{start}{self.done} of {self.count} {self.unit}, {rate:.3g} {self.unit}/s{left}"

    def close(self) -> None:
        """Stop updating the bar and leave it on the screen."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def with_progress(items: Iterable[Item], count: int, unit: str = "images", done: int = 0) -> Iterator[Item]:
    """Yield `items`, and show progress; for the arguments, see Progress."""
    with Progress(count, unit, done) as progress:
        for item in items:
            yield item
            progress.update()


def with_monotonic_clock(bar: Any) -> Any:
    """Make a tqdm bar use the monotonic clock instead of the wall clock, and return it."""
    bar._time = time.monotonic
    bar.start_t = bar.last_print_t = time.monotonic()
    return bar


def has_terminal() -> bool:
    """Return True if bars can be drawn: stderr is a terminal, and tqdm is installed."""
    return tqdm is not None and sys.stderr is not None and sys.stderr.isatty()


def print_above_bar(text: str, file: TextIO | None = None) -> None:
    """Print a line to `file`, or stdout, without breaking a visible bar."""
    if tqdm is None:
        print(text, file=file)
    else:
        tqdm.write(text, file=file)


def duration(seconds: float) -> str:
    """Return seconds as text, such as 2m 03s."""
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}h {m:02d}m {s:02d}s" if hours else f"{m}m {s:02d}s"
