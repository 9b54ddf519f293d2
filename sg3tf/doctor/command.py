"""Report versions, devices and native operations, and test the native operations.

Exit status 0 if everything works, with or without native operations; 1 if something is broken.
"""

from __future__ import annotations

import logging

from absl import flags

from sg3tf.utils import command_line


def define_flags(options: flags.FlagValues) -> None:
    """Define no flags."""


def main(options: flags.FlagValues) -> int:
    """Print the report and return the exit status."""
    from sg3tf.doctor.report import report  # here, so that --help is answered without TensorFlow

    logging.getLogger("sg3tf").setLevel(logging.ERROR)  # its warnings are in the report
    failures = 0
    for line in report():
        failures += line.startswith("FAILED")
        print(line, flush=True)
    return 1 if failures else 0


def command() -> int:
    """Run the command and return its exit status."""
    return command_line.run("sg3tf doctor", main, define_flags, __doc__)
