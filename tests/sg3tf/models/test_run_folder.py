"""Names in run folders, and the run of a generator."""

from __future__ import annotations

from pathlib import Path

from sg3tf.models import run_folder


def test_names_of_snapshots_say_the_progress():
    progress = [0, 8, 999, 1000, 1008, 199_992, 200_000, 200_016, 1_000_000]
    names = [run_folder.snapshot_name(nimg) for nimg in progress]
    assert len(set(names)) == len(names)
    assert [run_folder.trained_nimg(Path(name)) for name in names] == progress


def test_the_run_of_a_generator(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "other" / "G.keras"
    run.mkdir()
    (run / "options.json").touch()
    for file in (run / run_folder.snapshot_name(8000), run / "checkpoints" / "000008000" / "generator.keras"):
        assert run_folder.run_of(file) == run
    assert run_folder.run_of(elsewhere) is None
