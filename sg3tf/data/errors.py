"""The one error of the data code, and how a command line shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from absl import app

from sg3tf.utils.extras import MissingExtraError


class DataError(ValueError):
    """Something about the data is wrong; the message names it, its value and the remedy."""


def run_command(main: Callable[[], None]) -> None:
    """Parses the absl flags and calls `main`; a foreseen error becomes one line on stderr and exit 1."""

    def guarded(arguments: Sequence[str]) -> int:
        if len(arguments) > 1:
            print(f"error: unexpected argument {arguments[1]!r}; try --help", file=sys.stderr)
            return 1
        try:
            main()
        except (DataError, MissingExtraError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; nothing was written", file=sys.stderr)
            return 130
        return 0

    app.run(guarded)
