"""Shared parts of all benchmarks: flags, and rows that are printed and saved."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import machine
from sg3tf.models.configs import ConfigError
from sg3tf.ops.backend import BACKENDS
from sg3tf.utils.files import atomic_write
from sg3tf.utils.json_text import to_json

RESULTS = Path(__file__).with_name("results")
DTYPES = ("float32", "bfloat16")
DIGITS = 4

IMPL = flags.DEFINE_list("impl", ["native", "xla"], f"backends to compare: {', '.join(BACKENDS)}")
REPEATS = flags.DEFINE_integer("repeats", 5, "timed runs of each side, in turn, after a warm-up run", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "JSON file for the rows; relative paths are relative to benchmarks/results")

Row = dict[str, Any]


def _among(known: Sequence[str]) -> Callable[[list[str]], bool]:
    return lambda names: bool(names) and set(names) <= set(known)


flags.register_validator("impl", _among(BACKENDS), f"give one or more of {', '.join(BACKENDS)}")


def dtype_flag(default: Sequence[str]) -> flags.FlagHolder[list[str]]:
    """Define the flag --dtype."""
    holder = flags.DEFINE_list("dtype", list(default), f"precisions: {', '.join(DTYPES)}")
    flags.register_validator("dtype", _among(DTYPES), f"give one or more of {', '.join(DTYPES)}")
    return holder


def run(argv: Sequence[str], rows: Callable[[], Iterator[Row]]) -> None:
    """Print the machine and every row as a line of JSON, and keep --out up to date."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {' '.join(argv[1:])}")
    about = {"machine": machine.about(), "note": "the machine may be shared: times are upper bounds, see its load"}
    kept: list[Row] = []
    print(json.dumps(about), flush=True)
    try:
        for row in rows():
            kept.append(rounded(row))
            print(to_json(kept[-1]), flush=True)
            if _OUT.value:
                with atomic_write(RESULTS / _OUT.value) as file:
                    file.write(to_json({**about, "rows": kept}, indent=1).encode() + b"\n")
    except ConfigError as error:
        raise app.UsageError(str(error)) from error


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def goal(value: float, bound: float, *, at_least: bool = False) -> Row:
    """Return a measured value with its goal, a lower bound if `at_least`, or else an upper bound."""
    return {"is": value, "at_least" if at_least else "at_most": bound}


def met(one: Row) -> bool:
    """Return True if a goal is reached."""
    return one["is"] >= one["at_least"] if "at_least" in one else one["is"] <= one["at_most"]


def rounded(value: Any) -> Any:
    """Return the value with its numbers rounded to significant digits."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
