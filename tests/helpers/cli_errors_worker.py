"""Many command lines of trainer.main, one after another in one process: importing TensorFlow takes seconds each time.

Usage: python -m tests.helpers.cli_errors_worker COMMANDS RESULTS, JSON files: a list of argument lists, and what came of each,
    {"status", "out", "err", "error", "resume"}: error is the traceback of an exception, resume the command line by
    which the run in the folder RUN would be continued.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

from absl.testing import flagsaver

from trainer import main as trainer_main


def run(arguments: list[str]) -> dict[str, Any]:
    out, err, status, error = io.StringIO(), io.StringIO(), None, None
    argv = ["trainer.main", *arguments]
    redirected = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with flagsaver.flagsaver(), redirected[0], redirected[1], mock.patch.object(sys, "argv", argv):
        try:
            status = trainer_main.main(trainer_main.FLAGS(argv))
        except Exception:
            error = traceback.format_exc()
        resume = trainer_main._resume_command(Path("RUN"))
    return {"status": status, "out": out.getvalue(), "err": err.getvalue(), "error": error, "resume": resume}


if __name__ == "__main__":
    commands = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([run(arguments) for arguments in commands]))
