"""What a run shows while it goes on: log, scalars, image grids, snapshots."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from sg3tf import images, ops
from sg3tf.ops.implementation import for_training
from trainer import run_folder
from trainer.data import Dataset
from trainer.draws import Draws
from trainer.options import Options
from trainer.state import TrainState

GRID_PIXELS = 1024
GENERATE_AT_ONCE = 16


class Reporter:
    """Writes into the run folder what a person wants to see of a run.

    Args:
        run: the run folder.
        options: of the run.
        state: what is trained.
        dataset: real images, for reals.png.
        draws: latents for the image grids.
    """

    def __init__(self, run: Path, options: Options, state: TrainState, dataset: Dataset, draws: Draws) -> None:
        self.run, self.options, self.state = run, options, state
        self._dataset, self._draws = dataset, draws
        self._writer = tf.summary.create_file_writer(str(run / "tensorboard"))
        self._bar = tqdm(total=options.kimg, initial=state.cur_nimg / 1000, unit="kimg", bar_format=BAR, smoothing=0.1)
        self._metrics: list[dict[str, tf.Tensor]] = []
        self._started = self._tick_started = time.monotonic()
        self._tick_nimg = state.cur_nimg

    def say(self, line: str) -> None:
        """Prints a line, and keeps it in log.txt."""
        tqdm.write(line)
        with open(self.run / "log.txt", "a") as file:
            file.write(line + "\n")

    def on_start(self) -> None:
        columns, rows = self._grid_shape()
        count = min(columns * rows, len(self._dataset))
        wanted = [i * len(self._dataset) // count for i in range(count)]
        images.save_png(self.run / "reals.png", images.grid(np.stack([self._dataset[i][0] for i in wanted]), columns))
        if self.state.cur_nimg == 0:
            self._save_fakes()

    def on_step(self, metrics: dict[str, tf.Tensor]) -> None:
        self._metrics.append(metrics)
        done = self.state.cur_nimg / 1000 - self._bar.n
        self._bar.update(done)

    def on_tick(self) -> None:
        """Averages what came since the last tick; one line in the log, stats.jsonl and TensorBoard."""
        if self.state.cur_nimg == self._tick_nimg:
            return  # the end of a run coincides with a tick
        now = time.monotonic()
        seconds, kimg = now - self._tick_started, (self.state.cur_nimg - self._tick_nimg) / 1000
        self._tick_started, self._tick_nimg = now, self.state.cur_nimg
        values = {
            **_means(self._metrics),
            "progress/kimg": self.state.cur_nimg / 1000,
            "timing/sec_per_kimg": seconds / kimg,
            "timing/total_sec": now - self._started,
            "resources/peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        self._metrics.clear()
        with open(self.run / "stats.jsonl", "a") as file:
            file.write(json.dumps(values) + "\n")
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=self.state.cur_nimg)
        self._writer.flush()
        self.say(_status(values))

    def on_snapshot(self) -> None:
        """Image grid, the averaged generator for users, and a checkpoint to resume from."""
        self._save_fakes()
        self.state.G_ema.save(self.run / f"network-snapshot-{self.state.cur_nimg // 1000:06d}.keras")
        self.state.save(run_folder.new_checkpoint(self.run, self.state.cur_nimg))
        run_folder.remove_old_checkpoints(self.run)

    def close(self) -> None:
        self._bar.close()
        self._writer.close()

    def _grid_shape(self) -> tuple[int, int]:
        columns = int(np.clip(GRID_PIXELS // self.options.resolution, 4, 16))
        return columns, columns // 2

    def _save_fakes(self) -> None:
        columns, rows = self._grid_shape()
        latents = self._draws.latents("show", 0, columns * rows)
        fakes = images.grid(self._generate(latents["z"], latents["label"]), columns)
        images.save_png(self.run / f"fakes{self.state.cur_nimg // 1000:06d}.png", fakes)
        with self._writer.as_default():
            tf.summary.image("fakes", fakes[None], step=self.state.cur_nimg)
        self._writer.flush()

    def _generate(self, z: NDArray[np.float32], label: NDArray[np.float32]) -> NDArray[np.uint8]:
        parts = []
        impl = for_training()
        with ops.using("matmul" if impl == "xla" else impl):  # one grid now and then does not pay for compiling
            for start in range(0, len(z), GENERATE_AT_ONCE):
                part = slice(start, start + GENERATE_AT_ONCE)
                parts.append(images.to_uint8(self.state.G_ema({"z": z[part], "label": label[part]})))
        return np.concatenate(parts)


BAR = "{l_bar}{bar}| {n:.1f}/{total:.0f} kimg [{elapsed}<{remaining}, {rate_inv_fmt}]"


def _means(metrics: list[dict[str, tf.Tensor]]) -> dict[str, float]:
    names = sorted({name for step in metrics for name in step})
    return {name: float(np.mean([step[name] for step in metrics if name in step])) for name in names}


def _status(values: dict[str, float]) -> str:
    losses = "  ".join(f"{name[5:]} {values[name]:.3f}" for name in sorted(values) if name.startswith("loss/"))
    return (
        f"kimg {values['progress/kimg']:<8.1f} sec/kimg {values['timing/sec_per_kimg']:<8.2f} "
        f"total {_duration(values['timing/total_sec']):<11} mem {values['resources/peak_memory_gb']:<5.1f}GB  {losses}"
    )


def _duration(seconds: float) -> str:
    minutes, s = divmod(int(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}h {m:02d}m {s:02d}s" if hours else f"{m}m {s:02d}s"
