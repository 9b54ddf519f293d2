"""Estimates the time of a kernel on an H100 or H200 from the instructions that it executes.

    time = max(rounding * max(issue / utilization, busiest pipe / PIPE_UTILIZATION), bytes / bandwidth) + overhead

`issue` is the time in which the four schedulers of each multiprocessor could issue all instructions, one per clock.
The utilization depends on how many blocks share a multiprocessor: a single one leaves the schedulers idle at each
barrier. The utilizations and the overhead are calibrated on measured kernels; everything else is a figure of the card.
`rounding` accounts for the last, incomplete wave of blocks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import least_squares

MULTIPROCESSORS = 132
SCHEDULERS = 4 * MULTIPROCESSORS
CLOCK_HZ = 1.95e9  # profiled cycles over measured time of two kernels: 1.92 and 1.94
BANDWIDTH = 4.25e12  # bytes per second, as a plain copy moves them on an H200; an H100 has 0.7 of it
PIPE_UTILIZATION = 0.9  # a guess: no measured kernel is bound by a pipe
SHARED_PER_MULTIPROCESSOR = 233_472
REGISTERS_PER_MULTIPROCESSOR = 65_536
MAX_WARPS = 64
MAX_BLOCKS = 32
DEPENDS_ON_ROUNDING = 4  # waves: with more, blocks that end early and late even out

# Scheduler clocks for which a warp instruction of each kind keeps its pipe busy. Half of the lanes for float32 can
# multiply integers. m16n8k16 by mma.sync reaches 0.65 of the peak of wgmma (arXiv 2402.13499), which needs 4 clocks.
PIPES: dict[str, dict[str, float]] = {
    "float32": {"multiply": 1, "add": 1, "imad": 1},
    "integer multiply": {"imad": 2},
    "integer": {"integer": 2},
    "tensor": {"tensor": 6.2},
}


@dataclasses.dataclass(frozen=True)
class Work:
    """One launch: warp instructions by kind (sass.KINDS and "integer"), and everything else that costs time."""

    kinds: dict[str, float]
    shared_wavefronts: float  # clocks of a multiprocessor
    global_sectors: float  # of 32 bytes
    traffic: float  # bytes that must move
    blocks: int
    warps_per_block: int
    registers: int  # of a thread
    shared: int  # bytes of a block, including those that the driver reserves

    @property
    def instructions(self) -> float:
        return sum(self.kinds.values())

    @property
    def resident_blocks(self) -> int:
        """Blocks that a multiprocessor holds at the same time."""
        registers = -(-self.registers // 8) * 8 * 32 * self.warps_per_block
        return min(
            MAX_BLOCKS,
            MAX_WARPS // self.warps_per_block,
            REGISTERS_PER_MULTIPROCESSOR // max(registers, 1),
            SHARED_PER_MULTIPROCESSOR // max(self.shared, 1),
        )

    @property
    def rounding(self) -> float:
        """The time of all waves of blocks relative to that of the blocks spread evenly."""
        waves = self.blocks / (MULTIPROCESSORS * self.resident_blocks)
        return math.ceil(waves) / waves if waves < DEPENDS_ON_ROUNDING else 1.0

    def bounds_ms(self) -> dict[str, float]:
        """Return the time that each resource would need if it were always busy."""
        per_ms = CLOCK_HZ / 1e3
        bounds = {"issue": self.instructions / SCHEDULERS / per_ms}
        for pipe, clocks in PIPES.items():
            busy = sum(self.kinds.get(kind, 0) * each for kind, each in clocks.items())
            bounds[pipe] = busy / SCHEDULERS / per_ms
        lines = self.shared_wavefronts + self.global_sectors / 4  # 128 bytes per clock
        bounds["shared and L1"] = lines / MULTIPROCESSORS / per_ms
        bounds["bytes"] = self.traffic / BANDWIDTH * 1e3
        return bounds


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Shares of issue slots that kernels use, by blocks on a multiprocessor, and milliseconds that a launch adds."""

    utilization_single: float
    utilization_several: float
    overhead_ms: float

    def predict(self, work: Work) -> float:
        """Return the time of a launch in milliseconds."""
        bounds = work.bounds_ms()
        issue, traffic = bounds.pop("issue"), bounds.pop("bytes")
        utilization = self.utilization_single if work.resident_blocks == 1 else self.utilization_several
        busiest = max(bounds.values()) / PIPE_UTILIZATION
        return max(work.rounding * max(issue / utilization, busiest), traffic) + self.overhead_ms

    @classmethod
    def fit(cls, works: Sequence[Work], measured_ms: Sequence[float]) -> Calibration:
        """Return the calibration that minimizes the squared logarithms of predicted over measured times."""

        def residuals(x: np.ndarray[Any, Any]) -> list[float]:
            c = cls(*x)
            return [math.log(c.predict(w) / ms) for w, ms in zip(works, measured_ms, strict=True)]

        solution = least_squares(
            residuals, [0.6, 0.65, 0.003], bounds=([0.1, 0.1, 0], [1, 1, 0.05]), x_scale=[1, 1, 0.01]
        )
        return cls(*map(float, solution.x))


def leave_one_out(works: Sequence[Work], measured_ms: Sequence[float], groups: Sequence[str]) -> list[float]:
    """Return predicted / measured - 1 of each launch, with a calibration that leaves out its group."""
    errors = [0.0] * len(works)
    for group in sorted(set(groups)):
        others = [i for i, g in enumerate(groups) if g != group]
        calibration = Calibration.fit([works[i] for i in others], [measured_ms[i] for i in others])
        for i, g in enumerate(groups):
            if g == group:
                errors[i] = calibration.predict(works[i]) / measured_ms[i] - 1
    return errors
