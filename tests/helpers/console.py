"""The console script, run in the process of the tests."""

from __future__ import annotations

import contextlib
import io

from sg3tf.cli.main import main

Result = tuple[int, str, str]  # exit status, standard output, standard error


def run(*arguments: str) -> Result:
    """Run `sg3tf ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    return status, out.getvalue(), err.getvalue()
