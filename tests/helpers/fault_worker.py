"""Writers of which one call of the operating system fails, each in turn, in one process.

Usage: LD_PRELOAD=LIBRARY python -m tests.helpers.fault_worker NAME:LIMIT,... FOLDER SEED

LIBRARY is that of fault_injection.c, each NAME one of WRITERS below, LIMIT the number of failures to try of all that
there are, and FOLDER empty. Prints a JSON line for each failure, with the fields of Outcome.
"""

from __future__ import annotations

import abc
import contextlib
import ctypes
import dataclasses
import errno
import io
import itertools
import json
import logging
import os
import random
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sg3tf.utils.checksums import verify_checksums
from sg3tf.utils.files import atomic_path

SHORT = -1  # a write of a half, which is no error
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EINTR, SHORT)

library: Any = ctypes.CDLL(None)
library.fault_last.restype = ctypes.c_char_p


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Outcome of one injected failure.

    Attributes:
        writer: its name.
        call: that failed, and its file.
        calls: of which it was one.
        error: its text; of a short write "".
        raised: type of the exception; "": none.
        message: of the exception.
        state: "old", "new" or the problem.
    """

    writer: str
    call: str
    calls: int
    error: str
    raised: str
    message: str
    state: str


class Writer(abc.ABC):
    """Something that is written over what is there, or beside it.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abc.abstractmethod
    def write(self, number: int) -> None:
        """Write a state that holds `number`, or is recognized by being there."""

    @abc.abstractmethod
    def read(self, number: int) -> str:
        """Read what is there after `write(number)`: "old", "new" or the problem."""


class Numbered(Writer):
    """A writer whose state is read as the number that it holds."""

    _previous = 0

    def read(self, number: int) -> str:
        found = self.number()
        state = {self._previous: "old", number: "new"}.get(found, f"number {found}")
        self._previous = found
        if state in ("old", "new") and (rest := self.left_behind()):
            return f"left behind: {rest}"
        return state

    @abc.abstractmethod
    def number(self) -> int:
        """Return the number that the state holds."""

    def left_behind(self) -> list[str]:
        """Return names of hidden files, and of files beside the first: those of unfinished writes."""
        names = sorted(path.name for path in self.folder.rglob("*"))
        return [name for name in names if name.startswith(".") or "partial" in name]


# --- Without TensorFlow -----------------------------------------------------------------------------------------------


class Build(Writer):
    """A data set with classes; of the same images every time, so that all of its bytes are compared."""

    format = "shards"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._source, self._expected = folder.with_name("images"), dict[str, bytes]()
        rng = np.random.default_rng(0)
        for kind, number in itertools.product("ab", range(2)):
            (self._source / kind).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self._source / kind / f"{number}.png")

    def write(self, number: int) -> None:
        from sg3tf.data.build.builder import build
        from sg3tf.data.conversion import BuildConfig

        with contextlib.redirect_stderr(io.StringIO()):  # the progress bar
            build(self._source, self.folder / "set", BuildConfig(resolution=16, shards=2, format=self.format))

    def read(self, number: int) -> str:
        target = self.folder / "set"
        found = {str(file.relative_to(target)): file.read_bytes() for file in target.rglob("*") if file.is_file()}
        self._expected = self._expected or found
        rest = [path.name for path in self.folder.iterdir() if path != target]
        shutil.rmtree(target, ignore_errors=True)
        if rest:
            return f"left behind: {rest}"
        if found and found != self._expected:
            return f"differs: {[name for name in self._expected if found.get(name) != self._expected[name]]}"
        return "new" if found else "old"


class BuildFfhq(Build):
    """A data set in FFHQ's layout."""

    format = "ffhq"


class Latents(Numbered):
    """A file of --save_latents."""

    def write(self, number: int) -> None:
        from sg3tf.generate import latents_file

        latents_file.save(self.folder / "l.npz", latents_file.Latents(np.full([2, 4, 8], number, np.float32)))

    def number(self) -> int:
        with np.load(self.folder / "l.npz") as arrays:
            return int(arrays["ws"][1, 3, 7])


class Picture(Numbered):
    """A grid of images."""

    def write(self, number: int) -> None:
        from sg3tf.images import save_png

        save_png(self.folder / "grid.png", np.full([64, 64, 3], [number % 256, number // 256, 7], np.uint8))

    def number(self) -> int:
        with Image.open(self.folder / "grid.png") as image:
            red, green, _ = np.asarray(image)[63, 63].tolist()
        return int(red + 256 * green)


class Lines(Numbered):
    """Lines appended to the statistics of a run or to the values of a metric, of which none may be cut."""

    def write(self, number: int) -> None:
        from sg3tf.utils.files import append_line

        append_line(self.folder / "stats.jsonl", json.dumps({"number": number}))

    def number(self) -> int:
        numbers = [json.loads(line)["number"] for line in (self.folder / "stats.jsonl").read_text().splitlines()]
        return int(numbers[-1]) if numbers == sorted(numbers) else -1


class Logged(Numbered):
    """A writer that logs why nothing was written, instead of raising it."""

    def write(self, number: int) -> None:
        messages = io.StringIO()
        handler = logging.StreamHandler(messages)
        logging.getLogger("sg3tf").addHandler(handler)
        try:
            self.store(number)
        finally:
            logging.getLogger("sg3tf").removeHandler(handler)
        if messages.getvalue():
            raise OSError(messages.getvalue())

    @abc.abstractmethod
    def store(self, number: int) -> None:
        """Write `number`."""


class CacheEntry(Logged):
    """Statistics of a data set for metrics."""

    def store(self, number: int) -> None:
        from sg3tf.metrics.cache import Cache

        Cache(self.folder).store({"of": "the same"}, np.full([8, 4], number, np.float32))

    def number(self) -> int:
        from sg3tf.metrics.cache import Cache

        rows: Any = Cache(self.folder).load({"of": "the same"})
        return 0 if rows is None else int(rows[7, 3])


class MetricState(Logged):
    """State from which an interrupted pass of a metric resumes."""

    def store(self, number: int) -> None:
        collector = self._collector()
        collector.num_done = min(number, self._request.count)
        collector.save()

    def number(self) -> int:
        return int(self._collector().num_done)

    def __init__(self, folder: Path) -> None:
        from sg3tf.metrics.feature_stats import MOMENTS, FeatureRequest

        super().__init__(folder)
        self._request = FeatureRequest("detector", "output", MOMENTS, 100_000)

    def _collector(self) -> Any:
        from sg3tf.metrics.feature_stats import FeatureCollector

        return FeatureCollector([self._request], {("detector", "output"): 4}, self.folder)


class Video(Writer):
    """A video; after a failure, the same command completes it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._expected = b""

    def write(self, number: int) -> None:
        from sg3tf.generate.videos import render_video

        frames = [np.full([16, 16, 3], value, np.uint8) for value in (0, 100, 200)]
        with contextlib.redirect_stderr(io.StringIO()):  # the progress bar
            render_video(self.folder / "v.gif", 3, lambda start: iter(frames[start:]), fps=10, metadata={})

    def read(self, number: int) -> str:
        target = self.folder / "v.gif"
        if not target.exists():
            self.write(number)
            state = "old"
        else:
            state = "new"
        found = target.read_bytes()
        self._expected = self._expected or found
        target.unlink()
        if found != self._expected:
            return "differs"
        shutil.rmtree(self.folder / ".v.gif.frames", ignore_errors=True)
        rest = [path.name for path in self.folder.iterdir()]
        return f"left behind: {rest}" if rest else state


# --- With TensorFlow --------------------------------------------------------------------------------------------------


def tiny_generator() -> Any:
    """Return a generator that is written in a moment."""
    import sg3tf

    return sg3tf.Generator.from_preset("stylegan2", 8, channel_base=32, channel_max=4, z_dim=8, w_dim=8)


class Checkpoint(Numbered):
    """A checkpoint over one that is there."""

    def __init__(self, folder: Path) -> None:
        from tests.helpers import tiny_run
        from trainer.state import TrainState

        super().__init__(folder)
        data = BuildFfhq(folder)
        data.write(0)
        self._state = TrainState(tiny_run.options(folder / "set"))
        shutil.rmtree(folder / "set")
        self._target = folder / "checkpoints" / "000000008"

    def write(self, number: int) -> None:
        self._state.step = number
        self._state.save(self._target)

    def number(self) -> int:
        if problem := verify_checksums(self._target):
            raise ValueError(problem)
        self._state.restore(self._target)
        return int(self._state.step)


class GeneratorFile(Numbered):
    """A file with a generator, whose average style vector is the number."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.G = tiny_generator()

    def write(self, number: int) -> None:
        self.G.mapping_network.w_avg.assign(np.full(8, number, np.float32))
        self.save()

    @abc.abstractmethod
    def save(self) -> None:
        """Write the generator."""


class Snapshot(GeneratorFile):
    """A snapshot, as RunLogger writes it."""

    def save(self) -> None:
        with atomic_path(self.folder / "network-snapshot-000000.keras") as path:
            self.G.save(path)

    def number(self) -> int:
        import sg3tf

        return int(sg3tf.load(self.folder / "network-snapshot-000000.keras").mapping_network.w_avg[7])


class Npz(GeneratorFile):
    """Official parameters of a network."""

    def save(self) -> None:
        from sg3tf.convert import to_npz

        to_npz.save(self.G, self.folder / "g.npz")

    def number(self) -> int:
        with np.load(self.folder / "g.npz") as arrays:
            name = next(name for name in arrays if name.endswith("w_avg"))
            return int(arrays[name][7])


class Conversion(Writer):
    """Networks converted from an official pickle into a folder."""

    def __init__(self, folder: Path) -> None:
        from tests.conftest import GOLDEN
        from tests.helpers.official_networks import stored
        from tests.helpers.official_writer import dumps

        super().__init__(folder)
        self._pickle = folder.with_name("network.pkl")
        with np.load(GOLDEN / "generator_sg2_32.npz") as arrays:
            self._pickle.write_bytes(dumps({"G_ema": stored("generator_sg2_32", dict(arrays))}))
        self._digest = ""

    def write(self, number: int) -> None:
        from sg3tf.convert.from_pickle import convert_pickle

        convert_pickle(self._pickle, self.folder / "out", names=["G_ema"])

    def read(self, number: int) -> str:
        import sg3tf
        from sg3tf.models.loading import weights_digest

        target = self.folder / "out"
        rest = [path.name for path in self.folder.iterdir() if path != target]
        if rest:
            return f"left behind: {rest}"
        if not target.exists():
            return "old"
        json.loads((target / "metadata.json").read_text())
        digest = weights_digest(sg3tf.load(target / "G_ema.keras"))
        self._digest = self._digest or digest
        shutil.rmtree(target)
        return "new" if digest == self._digest else "differs"


class Export(Writer):
    """An export beside a version that is there, without the trial in another process."""

    def __init__(self, folder: Path) -> None:
        from serving import saved_model

        super().__init__(folder)
        saved_model.validate_export = lambda *_: {}
        saved_model.write_warmup_requests = lambda *_: None
        self._G = tiny_generator()
        self._before: set[str] = set()

    def write(self, number: int) -> None:
        from serving.saved_model import export_saved_model

        export_saved_model(self._G, self.folder)

    def read(self, number: int) -> str:
        names = {path.name for path in self.folder.iterdir()}
        new, lost = names - self._before, self._before - names
        self._before = names
        broken = [name for name in names if not (self.folder / name / "assets.extra" / "sg3tf.json").is_file()]
        if lost or broken or len(new) > 1 or not all(name.isdecimal() for name in names):
            return f"lost {lost}, broken {broken}, new {new}"
        return "new" if new else "old"


WRITERS: dict[str, Callable[[Path], Writer]] = {
    **{"build": Build, "build-ffhq": BuildFfhq, "latents": Latents, "picture": Picture, "lines": Lines},
    **{"cache": CacheEntry, "metric": MetricState, "video": Video},
    **{"checkpoint": Checkpoint, "snapshot": Snapshot, "conversion": Conversion, "npz": Npz, "export": Export},
}


def try_all(name: str, writer: Writer, limit: int, seed: int) -> Iterator[Outcome]:
    """Let one call of a write fail, of all calls with all errors in a random order."""
    folder = os.fsencode(writer.folder)
    library.fault_arm(folder, ctypes.c_long(0), 0)
    writer.write(0)
    count = library.fault_count()
    library.fault_arm(b"", ctypes.c_long(0), 0)
    if (state := writer.read(0)) not in ("old", "new"):
        raise RuntimeError(f"{name}: {state}")
    cases = [*itertools.product(range(1, count + 1), ERRORS)]
    random.Random(seed).shuffle(cases)
    for number, (call, error) in enumerate(cases[:limit], start=1):
        library.fault_arm(folder, ctypes.c_long(call), error)
        raised, message = "", ""
        try:
            writer.write(number)
        except Exception as failure:
            raised, message = type(failure).__name__, str(failure)
        failed = library.fault_last().decode()
        library.fault_arm(b"", ctypes.c_long(0), 0)
        try:
            state = writer.read(number)
        except Exception as failure:
            state = f"{type(failure).__name__}: {failure}"
        text = "" if error == SHORT else os.strerror(error)
        yield Outcome(name, failed, count, text, raised, message, state)


if __name__ == "__main__":
    names, parent, seed = sys.argv[1:]
    warnings.simplefilter("ignore")
    for name, _, limit in (part.partition(":") for part in names.split(",")):
        folder = Path(parent) / name / "the folder"
        folder.mkdir(parents=True)
        for outcome in try_all(name, WRITERS[name](folder), int(limit), int(seed)):
            print(json.dumps(dataclasses.asdict(outcome)), flush=True)
