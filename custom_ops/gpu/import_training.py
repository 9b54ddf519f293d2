"""Import a state of train_programs.py as a run folder with generator.keras, which `sg3tf train --resume` continues.

python custom_ops/gpu/import_training.py build/portraits-64 OUT/state --outdir=runs
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from custom_ops.gpu import training_folder
from custom_ops.gpu.export_training import variables_by_name
from custom_ops.gpu.training_folder import Progress
from trainer import run_dir
from trainer.config import Options
from trainer.state import TrainState


def assign(state: TrainState, arrays: Mapping[str, Any], progress: Progress) -> None:
    """Set a state of the trainer to the arrays and the progress of exported programs."""
    for name, variable in variables_by_name(state).items():
        variable.assign(arrays[name])
    for variable, value in zip(state.controller.variables, progress.controller, strict=True):
        variable.assign(value)
    state.cur_nimg, state.step = progress.cur_nimg, progress.step


def import_state(folder: Path, trained: Path, outdir: Path) -> Path:
    """Create a run folder with a checkpoint of a state, and return the checkpoint.

    Args:
        folder: written by export_training.py.
        trained: folder of the state.
        outdir: folder that contains run folders.
    """
    options = Options.from_file(folder / training_folder.OPTIONS)
    arrays, progress = training_folder.read_state(trained)
    state = TrainState(options)
    assign(state, arrays, progress)
    run = run_dir.create(outdir, options)
    checkpoint = run_dir.new_checkpoint(run, state.cur_nimg)
    state.save(checkpoint)
    return checkpoint


def main() -> None:
    """Import one state."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="written by export_training.py")
    parser.add_argument("state", type=Path, help="folder of the state, such as OUT/state")
    parser.add_argument("--outdir", type=Path, default=Path("runs"), help="folder in which to create the run folder")
    args = parser.parse_args()
    print(import_state(args.folder, args.state, args.outdir))


if __name__ == "__main__":
    main()
