"""The arithmetic of predictions."""

import dataclasses

import pytest

from custom_ops.gpu import cost

CLOCKS_PER_MS = 1.95e6

# Two blocks of 8 warps with 128 registers fill the 65,536 registers.
WORK = cost.Work(
    kinds={"multiply": 528e6, "integer": 528e6},
    shared_wavefronts=132e6,
    global_sectors=0,
    traffic=4.25e9,
    blocks=264 * 100,
    warps_per_block=8,
    registers=128,
    shared=1024,
)


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({}, 2),
        ({"registers": 129}, 1),
        ({"registers": 81}, 2),  # as many as 88
        ({"registers": 32}, 8),
        ({"registers": 32, "shared": 233_472 // 3}, 3),
        ({"registers": 16, "warps_per_block": 1, "shared": 0}, 32),
        ({"registers": 64, "warps_per_block": 32}, 1),
    ],
)
def test_resident_blocks(changes: dict[str, int], blocks: int) -> None:
    assert dataclasses.replace(WORK, **changes).resident_blocks == blocks


def test_bounds() -> None:
    bounds = WORK.bounds_ms()
    assert bounds["issue"] == pytest.approx(2e6 / CLOCKS_PER_MS)  # 2e6 instructions of each of 528 schedulers
    assert bounds["float32"] == pytest.approx(1e6 / CLOCKS_PER_MS)
    assert bounds["integer"] == pytest.approx(2e6 / CLOCKS_PER_MS)  # sixteen lanes
    assert bounds["shared and L1"] == pytest.approx(1e6 / CLOCKS_PER_MS)
    assert bounds["bytes"] == pytest.approx(1)


def test_prediction_is_the_slowest_resource() -> None:
    calibration = cost.Calibration(0.5, 0.8, 0.01)
    assert calibration.predict(WORK) == pytest.approx(2.5e6 / CLOCKS_PER_MS + 0.01)
    single = dataclasses.replace(WORK, registers=200)
    assert calibration.predict(single) == pytest.approx(4e6 / CLOCKS_PER_MS + 0.01)
    by_bytes = dataclasses.replace(WORK, traffic=17e9)
    assert calibration.predict(by_bytes) == pytest.approx(4.01)
    by_tensor = dataclasses.replace(WORK, kinds={"tensor": 528e6})
    assert calibration.predict(by_tensor) == pytest.approx(6.2e6 / 0.9 / CLOCKS_PER_MS + 0.01)


def test_an_incomplete_wave_takes_as_long_as_a_complete_one() -> None:
    assert dataclasses.replace(WORK, blocks=264 * 2).rounding == 1
    assert dataclasses.replace(WORK, blocks=264 + 66).rounding == pytest.approx(2 / 1.25)


def test_calibration_recovers_what_made_the_times() -> None:
    true = cost.Calibration(0.55, 0.7, 0.004)
    issue = dataclasses.replace(WORK, shared_wavefronts=0, traffic=0)
    works = [
        dataclasses.replace(issue, kinds={"multiply": 528e3 * n}, registers=registers)
        for n in (10, 100, 1000, 10000)
        for registers in (128, 200)
    ]
    times = [true.predict(w) for w in works]
    assert dataclasses.astuple(cost.Calibration.fit(works, times)) == pytest.approx(dataclasses.astuple(true), rel=1e-4)
    assert cost.leave_one_out(works, times, ["a"] * 4 + ["b"] * 4) == pytest.approx([0] * 8, abs=1e-3)
    by_blocks = cost.leave_one_out(works, times, ["two", "one"] * 4)  # neither tells of the other's utilization
    assert max(map(abs, by_blocks)) > 0.05
