"""Report versions, devices and native operations, and test the native operations.

The exit status is 0 if everything works, with or without native operations, and 1 if something is broken.
"""

from __future__ import annotations

import logging

from absl import flags


def define_flags(options: flags.FlagValues) -> None:
    """Define no flags."""


def main(options: flags.FlagValues) -> int:
    """Print the report and return the exit status."""
    from sg3tf.doctor.report import report  # imported here, so that --help does not load TensorFlow

    logging.getLogger("sg3tf").setLevel(logging.ERROR)  # the report includes its warnings
    failures = 0
    for line in report():
        failures += line.startswith("FAILED")
        print(line, flush=True)
    return 1 if failures else 0
