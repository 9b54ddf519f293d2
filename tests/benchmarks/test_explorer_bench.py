"""The explorer's benchmark: its row, from what the browser reports."""

from benchmarks.explorer_bench import row_of
from benchmarks.report import met

FOUND = {
    "delays": [10.0] * 9 + [40.0],
    "serverMs": [8.0, 10.0, 9.0],
    "sheetMs": 900,
    "cpuMs": {"page": 60.0, "server": 200.0},
    "heap": [9.0, 3.0, 3.5],
    "resident": [900.0, 950.0],
    "sent": 12,
    "aborted": 0,
    "replaced": 5,
}


def test_goals():
    row = row_of("T-32", FOUND)
    assert row["milliseconds"]["p50"] == 10
    assert row["pictures"] == 10
    assert row["cpu_milliseconds_per_picture"] == {"page": 6, "server": 20}
    assert row["goals"]["growth_mb"]["is"] == 0.5  # after the caches have filled
    assert all(met(goal) for goal in row["goals"].values())
    bad = row_of("T-32", FOUND | {"delays": [16.0], "aborted": 1, "heap": [1.0, 3.0, 9.0], "sheetMs": 2500})
    assert not any(met(goal) for goal in bad["goals"].values())
