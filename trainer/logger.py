"""Log of a training run: status lines, statistics, image grids, snapshots, checkpoints, divergence."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sg3tf import images, ops
from sg3tf.generate.latents_file import Tiles, save_tiles
from sg3tf.models import power_ema
from sg3tf.models.discriminator import Discriminator
from sg3tf.models.loading import discriminator_beside
from sg3tf.models.run_folder import progress_name, snapshot_name
from sg3tf.ops.backend import training_backend
from sg3tf.utils.error_text import first_line
from sg3tf.utils.files import append_line, atomic_path
from sg3tf.utils.json_text import to_json
from sg3tf.utils.output import ignoring_lost_output
from sg3tf.utils.progress import duration, print_above_bar
from sg3tf.utils.resolution import size_of
from trainer import run_dir
from trainer.checkpoint import CheckpointWriter, StateCopy
from trainer.config import Options
from trainer.divergence_monitor import DivergenceMonitor
from trainer.errors import StopRequestedError, TrainingError
from trainer.evaluation import MOST_KILLS, Evaluator
from trainer.goodput import Goodput
from trainer.inputs import Examples, Latents
from trainer.progress_bar import ProgressBar
from trainer.random_inputs import RandomInputs
from trainer.schedule import tick_number
from trainer.state import TrainState
from trainer.stats import Moments, Statistics, as_summary

# --- Memory -----------------------------------------------------------------------------------------------------------

GIGA = 1e9


def memory() -> dict[str, float]:
    """Memory in gigabytes, {name: value}: of this process, and of the fullest GPU since the last call."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIGA
    values = {"Resources/peak_cpu_mem_gb": peak}
    pages = Path("/proc/self/statm")
    if pages.exists():
        now = int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / GIGA
        values = {"Resources/cpu_mem_gb": now, "Resources/peak_cpu_mem_gb": max(now, peak)}  # the peak lags
    # Not the logical devices, which with several workers include those of the others.
    if peaks := [_peak_of_gpu(f"GPU:{number}") for number in range(len(tf.config.get_visible_devices("GPU")))]:
        values["Resources/peak_gpu_mem_gb"] = max(peaks)
    return values


def _peak_of_gpu(name: str) -> float:
    peak = tf.config.experimental.get_memory_info(name)["peak"] / GIGA
    tf.config.experimental.reset_memory_stats(name)
    return peak


# --- Log --------------------------------------------------------------------------------------------------------------

GRID_PIXELS = 1024
GENERATE_AT_ONCE = 16


class RunLogger:
    """Writes the log, statistics, image grids, snapshots and checkpoints to the run folder.

    Args:
        run: the run folder.
        options: options of the run.
        state: state of the run.
        examples: real images, for reals.png.
        random_inputs: latents for the image grids.
        strategy: devices for metrics; None: the first one.
        started: time.monotonic() at the start of the process; None: now.
        signals: those received, each a request to stop, which metrics heed.
    """

    def __init__(
        self,
        run: Path,
        options: Options,
        state: TrainState,
        examples: Examples,
        random_inputs: RandomInputs,
        strategy: tf.distribute.Strategy | None = None,
        started: float | None = None,
        signals: Sequence[int] = (),
    ) -> None:
        self.run, self.options, self.state = run, options, state
        self._examples = examples
        self._evaluator = Evaluator(run, options, state, strategy, signals)
        self._D = state.D  # for snapshots, which compute in float32
        if options.policy != "float32":
            with tf.device("CPU"):
                self._D = Discriminator(state.D.config, dtype="float32")
        self._divergence = DivergenceMonitor(options.max_bad_ticks)
        self._writer = tf.summary.create_file_writer(str(run / "tensorboard"))
        self._bar = ProgressBar(options.kimg, state.cur_nimg / 1000)
        self._statistics = Statistics()
        self._checkpoints = CheckpointWriter()
        columns, rows = self._grid_shape()
        self._grid_latents = random_inputs.grid(columns * rows)
        self._started = self._tick_ended = time.monotonic()
        self._tick_nimg, self._maintenance_s = state.cur_nimg, 0.0
        self._saturated = False
        kept = run_dir.truncate_lines(run / run_dir.STATS, state.cur_nimg, lambda line: line["Progress/kimg"]["mean"])
        productive = 0.0 if state.cur_nimg == 0 else None  # 0 also if a run starts over
        if kept:
            productive = kept[-1].get("Goodput/productive_sec", {}).get("mean")
        self._goodput = Goodput(run, productive, started)

    def log(self, line: str) -> None:
        """Append a line to log.txt, and print it unless stdout is gone."""
        with open(self.run / run_dir.LOG, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        with ignoring_lost_output():
            print_above_bar(line)

    def on_start(self, notes: list[str]) -> None:
        """Log `notes`, save the grid of real images and, in a new run, the first grid of generated ones."""
        for note in notes:
            self.log(note)
        columns, rows = self._grid_shape()
        count = min(columns * rows, len(self._examples))
        reals = np.stack([self._examples[i * len(self._examples) // count][0] for i in range(count)])
        images.save_png(self.run / "reals.png", images.grid(reals, columns))
        if self.state.cur_nimg == 0:
            self._save_fakes()
        if self._evaluator.has_missing_metrics(snapshot := self._snapshot_file()):
            if (kills := self._evaluator.num_killed_attempts(snapshot)) >= MOST_KILLS:
                self.log(
                    f"warning: no metrics of {snapshot.name}: {kills} processes were killed while computing them; if "
                    "memory ran out, use fewer --metrics_samples, other --metrics, or --metrics=none"
                )
            else:
                self.log(f"computing the metrics of {snapshot.name}, which are missing because the run was interrupted")
                self.on_evaluation()
        self.log(f"building the training step with {training_backend()} operations, which takes a minute or two")

    def on_step(self, metrics: Moments) -> None:
        """Collect the metrics of a step, and advance the progress bar."""
        self._statistics.add(metrics)
        self._goodput.on_step()
        self._bar.advance_to(min(self.state.cur_nimg / 1000, self.options.kimg))  # the last batch may exceed it

    def on_tick(self, stall_seconds: float) -> None:
        """Write the statistics since the last tick to the log, to stats.jsonl and to TensorBoard.

        Args:
            stall_seconds: seconds spent waiting for images.

        Raises:
            TrainingError: too many bad ticks in a row, or the last checkpoint could not be written.
        """
        self._checkpoints.check()
        values = {**self._statistics.pop(), **{n: as_summary(v) for n, v in self._progress(stall_seconds).items()}}
        append_line(self.run / run_dir.STATS, to_json({**values, "timestamp": time.time()}))
        self.write_scalars({name: value["mean"] for name, value in values.items()})
        self.log(_status(values, self.options.kimg))
        self._warn_of_saturation()
        try:
            problem = self._divergence.update(values)
        except TrainingError as error:
            raise TrainingError(f"{error}; that is {run_dir.last_checkpoint(self.run)}") from error
        if problem is not None:
            self.log(f"bad tick: {problem}; nothing is saved until a good tick")

    def _warn_of_saturation(self) -> None:
        """Log the controller's warning, once each time that augmentation saturates."""
        warning = self.state.controller.warning
        if warning is not None and not self._saturated:
            self.log(f"warning: {warning}")
        self._saturated = warning is not None

    def on_checkpoint(self) -> None:
        """Save a checkpoint to resume from, unless the last tick was bad.

        Returns as soon as the state is copied; a thread writes the copy.

        Raises:
            TrainingError: the checkpoint before this one could not be written.
        """
        if not self._divergence.is_healthy:
            return
        with self._maintenance():
            self._checkpoints.wait()
            folder = run_dir.new_checkpoint(self.run, self.state.cur_nimg)
            self._checkpoints.start(functools.partial(self._write_checkpoint, self.state.copy(), folder))

    def _write_checkpoint(self, copy: StateCopy, folder: Path) -> None:
        try:
            copy.write(folder)
        except TrainingError as error:
            raise TrainingError(f"{error}; make room and {run_dir.how_to_continue(self.run)}") from error
        run_dir.remove_old_checkpoints(self.run, self.options.keep_checkpoints)

    def on_end(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            TrainingError: it cannot be written, or the run is finished without one, because its last tick was bad.
        """
        with self._maintenance():
            self._checkpoints.wait()
        if self.state.cur_nimg >= self.options.kimg * 1000 and not self._divergence.is_healthy:
            last = run_dir.last_checkpoint(self.run)
            raise TrainingError(
                f"the last tick was bad, so nothing has been saved since {last}; continue from there with a "
                "smaller --glr and --dlr, a larger --gamma or --precision=fp32"
            )

    def on_snapshot(self) -> None:
        """Save an image grid, the discriminator and the averaged generator, unless the last tick was bad.

        The discriminator is for --init_from, which goes back to a snapshot long after its checkpoint was removed.
        """
        if not self._divergence.is_healthy:
            return
        with self._maintenance():
            self._save_fakes()
            snapshot = self._snapshot_file()
            if self._D is not self.state.D:
                self._D.set_weights(self.state.D.get_weights())
            for file, model in ((discriminator_beside(snapshot), self._D), (snapshot, self.state.G_ema)):
                with atomic_path(file) as path:
                    model.save(path)
            if self.state.power_emas and self.state.cur_nimg:  # an average of no images has no weights
                power_ema.write(
                    self.run / power_ema.file_name(self.state.cur_nimg), self.state.cur_nimg, self.state.power_emas
                )
            if self.options.histograms:
                self._save_histograms()

    def on_evaluation(self) -> None:
        """Compute the metrics of a snapshot, after its checkpoint, so that a failure loses nothing else.

        Does nothing if the last tick was bad, the metrics are known, or too many processes were killed in them. A
        signal to stop ends them: a cluster kills processes that do not end within seconds.
        """
        snapshot = self._snapshot_file()
        if not self._divergence.is_healthy or not self._evaluator.has_missing_metrics(snapshot):
            return
        if self._evaluator.num_killed_attempts(snapshot) >= MOST_KILLS:
            return
        with self._maintenance():
            self._checkpoints.wait()  # metrics take a long time and memory
            try:
                values = self._evaluator.evaluate(snapshot)
            except StopRequestedError:
                self.log(f"no metrics of {snapshot.name}, as the run stops; they are computed when it is resumed")
                return
            except Exception as error:  # no failure here is a reason to stop the run
                self.log(f"warning: no metrics of {snapshot.name}: {type(error).__name__}: {first_line(error)}")
                return
        self.write_scalars(values)
        self.log("  ".join(f"{name.removeprefix('Metrics/')} {value:.4g}" for name, value in values.items()))

    def close(self) -> None:
        """Wait for the current checkpoint; close the progress bar, TensorBoard's file and goodput.json."""
        self._checkpoints.close()
        self._bar.close()
        self._goodput.close()
        self._writer.close()

    def _progress(self, stall_seconds: float) -> dict[str, float]:
        """Progress, timing and resources since the last tick."""
        now = time.monotonic()
        seconds, kimg = now - self._tick_ended, (self.state.cur_nimg - self._tick_nimg) / 1000
        training = seconds - self._maintenance_s
        values = {
            "Progress/tick": tick_number(self.state.cur_nimg, self.options),
            "Progress/kimg": self.state.cur_nimg / 1000,
            **self._goodput.metrics(),
            **self.state.controller.metrics(),
            "Timing/total_sec": now - self._started,
            "Timing/sec_per_tick": seconds,
            "Timing/sec_per_kimg": training / kimg,
            "Timing/maintenance_sec": self._maintenance_s,
            "Timing/input_stall_share": stall_seconds / training,
            **memory(),
            **{f"Weights/{name}/norm": _norm(getattr(self.state, name)) for name in ("G", "D", "G_ema")},
        }
        self._tick_ended, self._tick_nimg, self._maintenance_s = now, self.state.cur_nimg, 0.0
        return values

    def write_scalars(self, scalars: dict[str, float]) -> None:
        """Write {name: value} to TensorBoard at the current number of images."""
        with self._writer.as_default():
            for name, value in scalars.items():
                tf.summary.scalar(name, value, step=self.state.cur_nimg)
        self._writer.flush()

    def _snapshot_file(self) -> Path:
        return self.run / snapshot_name(self.state.cur_nimg)

    def _save_histograms(self) -> None:
        with self._writer.as_default():
            for part in ("G", "D"):
                for variable in getattr(self.state, part).trainable_variables:
                    name = f"{part}/{variable.path.partition('/')[2]}"
                    tf.summary.histogram(name, variable.value, step=self.state.cur_nimg)

    @contextlib.contextmanager
    def _maintenance(self) -> Iterator[None]:
        """Context whose time is not counted as training."""
        start = time.monotonic()
        with self._goodput.saving():
            yield
        self._maintenance_s += time.monotonic() - start

    def _grid_shape(self) -> tuple[int, int]:
        size = size_of(self.options.resolution)
        columns = int(np.clip(GRID_PIXELS // size.width, 4, 16))
        rows = columns // 2 if size.width == size.height else int(np.clip(GRID_PIXELS // 2 // size.height, 2, 8))
        return columns, rows

    def _save_fakes(self) -> None:
        columns, _ = self._grid_shape()
        fakes = images.grid(self._generate(self._grid_latents), columns)
        name = f"fakes{progress_name(self.state.cur_nimg)}"
        images.save_png(self.run / f"{name}.png", fakes)
        tiles = Tiles(self._grid_latents.z, np.arange(len(self._grid_latents.z)), self._grid_latents.label)
        save_tiles(self.run / f"{name}.npz", tiles)
        with self._writer.as_default():
            tf.summary.image("fakes", fakes[None], step=self.state.cur_nimg)
        self._writer.flush()

    def _generate(self, latents: Latents) -> NDArray[np.uint8]:
        parts = []
        impl = training_backend()
        with ops.use_backend("matmul" if impl == "xla" else impl):  # compiling does not pay off for an occasional grid
            at_once = min(GENERATE_AT_ONCE, self.options.batch_per_replica)
            for start in range(0, len(latents.z), at_once):
                rows = slice(start, start + at_once)
                parts.append(images.to_uint8(self.state.G_ema({"z": latents.z[rows], "label": latents.label[rows]})))
        return np.concatenate(parts)


class NullLogger:
    """Logger of all workers but the chief: writes nothing."""

    def on_start(self, notes: list[str]) -> None: ...

    def on_step(self, metrics: Moments) -> None: ...

    def on_tick(self, stall_seconds: float) -> None: ...

    def on_checkpoint(self) -> None: ...

    def on_snapshot(self) -> None: ...

    def on_evaluation(self) -> None: ...

    def on_end(self) -> None: ...

    def close(self) -> None: ...


def _norm(model: tf.keras.Model) -> float:
    return float(tf.linalg.global_norm([v.value for v in model.trainable_variables]))


def _status(values: dict[str, dict[str, float]], total_kimg: float) -> str:
    def value(name: str) -> float:
        return values[name]["mean"]

    left = max(total_kimg - value("Progress/kimg"), 0) * value("Timing/sec_per_kimg")
    losses = "  ".join(f"{name} {value(f'Loss/{name}/loss'):.3f}" for name in ("D", "G"))
    return (
        f"kimg {value('Progress/kimg'):<8.1f} sec/kimg {value('Timing/sec_per_kimg'):<8.2f} "
        f"total {duration(value('Timing/total_sec')):<11} left {duration(left):<11} "
        f"mem {value('Resources/peak_cpu_mem_gb'):<5.1f}GB  augment {value('Progress/augment'):.3f}  {losses}"
    )
