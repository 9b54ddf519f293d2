"""Many command lines of trainer.main, one after another in one process: importing TensorFlow takes seconds each time.

Usage: python -m tests.helpers.cli_errors_worker COMMANDS RESULTS, JSON files: a list of argument lists, and the
    result of each, {"status", "out", "err", "error"}: error is the traceback of an exception.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from trainer import main as trainer_main


def run(arguments: list[str]) -> dict[str, Any]:
    out, err, status, error = io.StringIO(), io.StringIO(), None, None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = trainer_main.main(arguments)
        except Exception:
            error = traceback.format_exc()
    return {"status": status, "out": out.getvalue(), "err": err.getvalue(), "error": error}


if __name__ == "__main__":
    commands = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps([run(arguments) for arguments in commands]))
