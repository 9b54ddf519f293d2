"""The progress bar of a training run."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from sg3tf.utils.output import ignoring_lost_output
from sg3tf.utils.progress import with_monotonic_clock


class ProgressBar(tqdm):
    """Thousands of images, seconds for each thousand, images per second, and the time left.

    Shown on a terminal only: the log has the same numbers, and a log file would get hundreds of bars.

    Args:
        total_kimg: length of the run.
        done_kimg: thousands of images already done.
    """

    def __init__(self, total_kimg: float, done_kimg: float) -> None:
        digits = 1 if total_kimg >= 10 else 3
        super().__init__(
            total=total_kimg,
            initial=done_kimg,
            bar_format=f"{{l_bar}}{{bar}}| {{n:.{digits}f}}/{{total:.{digits}f}} kimg [{{speed}}, {{remaining}} left]",
            smoothing=0.1,
            file=sys.stderr,
            disable=None,  # disables the bar if stderr is not a terminal
        )
        with_monotonic_clock(self)

    @property
    def format_dict(self) -> dict[str, Any]:
        """The values of bar_format."""
        values = super().format_dict
        rate = values.get("rate") or (values["n"] - values["initial"]) / (values["elapsed"] or 1)
        speed = f"{1 / rate:.2f} sec/kimg, {1000 * rate:.1f} images/s" if rate else "no images yet"
        return {**values, "speed": speed}

    def advance_to(self, kimg: float) -> None:
        """Show that `kimg` thousand images are done."""
        with ignoring_lost_output():
            self.update(kimg - self.n)

    def close(self) -> None:
        """Leave the bar on the screen, unless the terminal is gone."""
        with ignoring_lost_output():
            super().close()
