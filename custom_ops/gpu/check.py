"""Check and time the CUDA kernels on a machine with a GPU.

Requires g++, NVRTC or nvcc, PyTorch, NumPy and SciPy, but not TensorFlow:

  python custom_ops/gpu/check.py --out=report.json

Runs every distinct layer of the networks forward, forward with a mask, and backward, and compares some of its images
and channels with float64. Times are medians. Bandwidth counts the bytes that must be read and written, masks included;
it is also given as a share of the bandwidth of a plain copy in the same run. The exit status is 1 if any result is
wrong.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sg3tf.models.configs import GeneratorConfig  # noqa: E402
from sg3tf.models.filters import low_pass  # noqa: E402
from sg3tf.models.layer_plan import LayerPlan, plan_synthesis  # noqa: E402
from sg3tf.models.presets import discriminator_preset, generator_preset  # noqa: E402

OPERATIONS = ("filtered_lrelu", "upfirdn2d")
NOT_SUPPORTED = 801  # kernel_mma.cu supports only some shapes

TYPES = {"float32": 0, "float16": 2, "bfloat16": 3}
TOLERANCES = {"float32": 2e-5, "float16": 1e-3, "bfloat16": 8e-3}  # of the largest magnitude
MMA_TOLERANCES = {"float16": 4e-3, "bfloat16": 3.2e-2}  # up to eleven more half steps of 16 bits
MMA = "filtered_lrelu_mma"  # on tensor cores
MODES = {"forward": 0, "forward with mask": 1, "backward": 2}
NETWORKS = (("stylegan3-t", 256), ("stylegan3-r", 256), ("stylegan3-t", 1024))
CLAMP = 2.5  # far below the networks' 256, to clamp many samples; below 2.1, taps of L13 exceed float16
RANK_TOLERANCE = 1e-9  # keeps more terms of radial filters than sg3tf.ops.geometry does: an upper bound of the time
WARM_UPS = 3
ASLEEP_CYCLES = 4_000_000  # the timed calls queue up while the GPU sleeps

Floats = NDArray[np.float64]


class Axis(ctypes.Structure):
    """Sg3Axis."""

    _fields_ = [(name, ctypes.c_int64) for name in ("up", "down", "before", "taps", "in_size", "out_size")]


class Stage(ctypes.Structure):
    """Sg3Stage."""

    _fields_ = [
        ("y", Axis),
        ("x", Axis),
        ("terms", ctypes.c_int64),
        ("taps_y", ctypes.POINTER(ctypes.c_double)),
        ("taps_x", ctypes.POINTER(ctypes.c_double)),
    ]


class Upfirdn2d(ctypes.Structure):
    """Sg3Upfirdn2d."""

    _fields_ = [("batch", ctypes.c_int64), ("channels", ctypes.c_int64), ("stage", Stage)]


class FilteredLrelu(ctypes.Structure):
    """Sg3FilteredLrelu."""

    _fields_ = [
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("up", Stage),
        ("down", Stage),
        ("slope", ctypes.c_double),
        ("clamp", ctypes.c_double),
        ("mode", ctypes.c_int),
    ]


STRUCTURES = (Axis, Stage, Upfirdn2d, FilteredLrelu)


def layout_source() -> str:
    """Return C++ source that exports the sizes and offsets of the structures, in the order of `layout`."""
    terms = []
    for structure in STRUCTURES:
        name = f"Sg3{structure.__name__}"
        terms += [f"sizeof({name})", *(f"offsetof({name}, {field[0]})" for field in structure._fields_)]
    includes = "".join(f'#include "custom_ops/{operation}/problem.h"\n' for operation in OPERATIONS)
    return f'#include <cstddef>\n{includes}extern "C" const size_t sg3_layout[] = {{{", ".join(terms)}}};\n'


def layout() -> list[int]:
    """Return the sizes and offsets of the structures above, as the source of `layout_source` must export them."""
    values = []
    for structure in STRUCTURES:
        offsets = [getattr(structure, field[0]).offset for field in structure._fields_]
        values += [ctypes.sizeof(structure), *offsets]
    return values


def build(folder: Path) -> ctypes.CDLL:
    """Build the launchers as a library in `folder` and load it. Kernels are compiled when they are launched."""
    (folder / "layout.cc").write_text(layout_source())
    library = folder / "libsg3_cuda.so"
    command = [str(ROOT / "custom_ops/jit/build.sh"), str(library), str(folder / "layout.cc")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"gpu/check.py: {command[0]} failed\n{result.stdout}{result.stderr}")
    loaded = ctypes.CDLL(str(library))
    loaded.sg3_cuda_message.restype = ctypes.c_char_p
    expected = layout()
    if list((ctypes.c_size_t * len(expected)).in_dll(loaded, "sg3_layout")) != expected:
        sys.exit("gpu/check.py: its structures differ from those of problem.h")
    return loaded


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
    """The sum over r of the outer products y[r] x[r], a correlation kernel."""

    y: Floats
    x: Floats

    @classmethod
    def convolving(cls, taps: Floats | None, gain: float) -> Filter:
        if taps is None:
            taps = np.ones([1])
        flipped = np.flip(taps)
        if taps.ndim == 1:
            return cls(flipped[None] * gain, flipped[None].copy())
        left, values, right = np.linalg.svd(flipped)
        terms = int(np.sum(values > RANK_TOLERANCE * values[0]))
        scale = np.sqrt(values[:terms, None])
        return cls(left.T[:terms] * scale * gain, right[:terms] * scale)

    def reversed(self) -> Filter:
        return Filter(self.y[:, ::-1].copy(), self.x[:, ::-1].copy())


@dataclasses.dataclass(frozen=True, eq=False)
class Resampling:
    """A stage: the axes (vertical, horizontal) and the filter."""

    axes: tuple[Axis, Axis]
    filter: Filter

    @classmethod
    def create(
        cls, kernel: Filter, up: tuple[int, int], down: tuple[int, int], pad: tuple[int, int], size: tuple[int, int]
    ) -> Resampling:
        def axis(i: int, taps: int) -> Axis:
            out_size = (size[i] * up[i] + sum(pad) - taps) // down[i] + 1
            return Axis(up[i], down[i], pad[0], taps, size[i], out_size)

        return cls((axis(0, kernel.y.shape[1]), axis(1, kernel.x.shape[1])), kernel)

    @property
    def out_sizes(self) -> tuple[int, int]:
        return self.axes[0].out_size, self.axes[1].out_size

    @property
    def in_sizes(self) -> tuple[int, int]:
        return self.axes[0].in_size, self.axes[1].in_size

    def adjoint(self) -> Resampling:
        def transposed(a: Axis) -> Axis:
            return Axis(a.down, a.up, a.taps - 1 - a.before, a.taps, a.out_size, a.in_size)

        return Resampling((transposed(self.axes[0]), transposed(self.axes[1])), self.filter.reversed())

    def stage(self) -> Stage:
        """Return the structure for the library, valid while this object lives."""
        pointer = ctypes.POINTER(ctypes.c_double)
        y, x = (np.ascontiguousarray(taps) for taps in (self.filter.y, self.filter.x))
        object.__setattr__(self, "_kept", (y, x))
        return Stage(*self.axes, len(y), y.ctypes.data_as(pointer), x.ctypes.data_as(pointer))

    def apply(self, torch: Any, x: Any) -> Any:
        """Return the float64 result for x [N, H, W, C], by the definition in stage.h."""
        total: Any = 0
        for taps_y, taps_x in zip(self.filter.y, self.filter.x, strict=True):
            rows, columns = (
                torch.from_numpy(matrix(axis, taps)).to(x.device)
                for axis, taps in zip(self.axes, (taps_y, taps_x), strict=True)
            )
            total = total + torch.einsum("oi,nihc->nohc", rows, torch.einsum("oi,nhic->nhoc", columns, x))
        return total


def matrix(axis: Axis, taps: Floats) -> Floats:
    """Return the matrix [out_size, in_size] of the map along one axis."""
    result = np.zeros([axis.out_size, axis.in_size])
    for k, tap in enumerate(taps):
        position = np.arange(axis.out_size) * axis.down + k - axis.before
        meets = (position % axis.up == 0) & (position >= 0) & (position < axis.in_size * axis.up)
        result[np.flatnonzero(meets), position[meets] // axis.up] = tap
    return result


@dataclasses.dataclass(frozen=True, eq=False)
class Lrelu:
    """A filtered leaky ReLU."""

    name: str
    up: Resampling
    down: Resampling
    channels: int
    batch: int
    slope: float

    def stages(self, mode: str) -> tuple[Resampling, Resampling]:
        """Return both stages; for "backward", those of the gradient."""
        return (self.down.adjoint(), self.up.adjoint()) if mode == "backward" else (self.up, self.down)


@dataclasses.dataclass(frozen=True, eq=False)
class Fir:
    """An upfirdn2d."""

    name: str
    resampling: Resampling
    channels: int
    batch: int


def layers(batch: int) -> Iterator[Lrelu]:
    """Yield each distinct layer of the networks."""
    seen = set()
    for preset, resolution in NETWORKS:
        for p in plan_synthesis(cast(GeneratorConfig, generator_preset(preset, resolution))).layers:
            key = (
                p.conv_size,
                p.out_size,
                p.up,
                p.down,
                p.out_channels,
                p.use_radial_filters,
                p.in_cutoff,
                p.out_cutoff,
            )
            if key not in seen:
                seen.add(key)
                yield layer(f"{preset}-{resolution} {p.name}", p, batch)


def layer(name: str, p: LayerPlan, batch: int) -> Lrelu:
    """Return the nonlinearity of a SynthesisLayer (sg3tf/models/stylegan3.py), except its clamp."""
    gain = 1.0 if p.is_torgb else math.sqrt(2)
    up_filter = low_pass(p.up_taps, p.in_cutoff, p.in_half_width, p.temporary_rate)
    down_filter = low_pass(p.down_taps, p.out_cutoff, p.out_half_width, p.temporary_rate, p.use_radial_filters)
    size = p.conv_size  # of square networks
    up = Resampling.create(Filter.convolving(up_filter, gain * p.up**2), (p.up, p.up), (1, 1), p.padding[:2], size)
    down = Resampling.create(Filter.convolving(down_filter, 1), (1, 1), (p.down, p.down), (0, 0), up.out_sizes)
    return Lrelu(name, up, down, p.out_channels, batch, 1.0 if p.is_torgb else 0.2)


def odd_lrelus() -> Iterator[Lrelu]:
    """Yield small shapes that the networks do not have, including some for the general kernel."""
    rng = np.random.default_rng(0)
    shapes = (
        ((2, 2), (2, 2), 12, 12, 1, 1, (4, 5), (20, 33), 37),  # unaligned
        ((2, 2), (2, 2), 12, 12, 1, 6, (9, 8), (31, 18), 3),
        ((3, 1), (1, 2), 7, 5, 1, 2, (2, 6), (9, 26), 16),
        ((2, 2), (4, 4), 12, 24, 3, 1, (-2, 30), (21, 22), 20),
        ((1, 1), (1, 1), 1, 1, 1, 1, (0, 0), (70, 5), 1),
    )
    for up, down, up_taps, down_taps, up_terms, down_terms, pad, size, channels in shapes:

        def kernel(terms: int, taps: int) -> Filter:
            return Filter(rng.uniform(0.1, 1, [terms, taps]), rng.uniform(0.1, 1, [terms, taps]) / (terms * taps))

        first = Resampling.create(kernel(up_terms, up_taps), up, (1, 1), pad, size)
        second = Resampling.create(kernel(down_terms, down_taps), (1, 1), down, (0, 0), first.out_sizes)
        yield Lrelu(f"odd up {up} down {down} {up_terms}, {down_terms} terms", first, second, channels, 2, 0.2)


def firs(batch: int) -> Iterator[Fir]:
    """Yield the filters of discriminators, augmentation and the blur of config R, each with its adjoint."""
    bilinear = Filter.convolving(np.array([1.0, 3.0, 3.0, 1.0]) / 8, 1)
    rng = np.random.default_rng(1)
    wavelet = Filter.convolving(rng.normal(size=12), 1)  # as long as sym6, with other numbers
    blur = Filter.convolving(np.exp2(-np.square(np.arange(-30, 31) / 10)) / 15, 1)

    def pair(name: str, kernel: Filter, down: int, pad: tuple[int, int], side: int, channels: int) -> Iterator[Fir]:
        forward = Resampling.create(kernel, (1, 1), (down, down), pad, (side, side))
        yield Fir(f"{name} {side}x{side}x{channels}", forward, channels, batch)
        yield Fir(f"{name} {side}x{side}x{channels} adjoint", forward.adjoint(), channels, batch)

    for resolution in (256, 1024):
        config = discriminator_preset("stylegan3-t", resolution)
        sides = [2**i for i in range(3, resolution.bit_length()) if resolution == 256 or 2**i > 256]
        for side in sides:
            yield from pair("D down 2", bilinear, 2, (1, 1), side, config.channels(side))
            yield from pair("D blur", bilinear, 1, (2, 2), side, config.channels(side))
    for side in (512, 1024):
        yield from pair("augment", wavelet, 2, (5, 5), side, 3)
    yield from pair("skip", bilinear, 2, (1, 1), 512, 3)  # of StyleGAN2's images; upsampling is the adjoint
    for channels in (1, 3):
        yield from pair("R blur", blur, 1, (30, 30), 256, channels)
    yield from pair("ablation", wavelet, 1, (5, 6), 128, 256)
    yield from pair("odd", wavelet, 3, (5, 5), 100, 37)  # for the general kernel


class Checker:
    """Run cases on the GPU and collect the rows of the report."""

    def __init__(self, torch: Any, library: ctypes.CDLL, repeats: int) -> None:
        self.torch = torch
        self.library = library
        self.repeats = repeats
        self.stream = torch.cuda.Stream()
        self.rows: list[dict[str, Any]] = []
        torch.manual_seed(0)
        self.copy_gb_per_s = self._copy_bandwidth()

    def _copy_bandwidth(self) -> float:
        source = self.torch.zeros(2**30, dtype=self.torch.uint8, device="cuda")
        target = self.torch.empty_like(source)
        return 2 * source.numel() / 1e6 / self.median_ms(lambda: target.copy_(source))

    def median_ms(self, call: Callable[[], Any]) -> float:
        """Return the median time of one call."""
        torch = self.torch
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UPS):
                call()
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(self.repeats + 1)]
            torch.cuda._sleep(ASLEEP_CYCLES)
            for mark in marks[:-1]:
                mark.record()
                call()
            marks[-1].record()
        torch.cuda.synchronize()
        return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(marks))

    def random(self, shape: tuple[int, ...], dtype: str) -> Any:
        return self.torch.randn(shape, device="cuda").to(getattr(self.torch, dtype))

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return a tensor of NaNs or of an unlikely integer, so that unwritten elements show up."""
        kind = getattr(self.torch, dtype)
        return self.torch.full(shape, math.nan if kind.is_floating_point else 0x5A5A5A5A, dtype=kind, device="cuda")

    def sample(self, tensor: Any) -> Any:
        """Return the first and last images and the first, middle and last channels, in float64."""
        images = sorted({0, tensor.shape[0] - 1})
        return tensor[images][..., sampled_channels(tensor.shape[-1])].double()

    def call(self, name: str, *arguments: Any) -> int:
        pointers = [a.data_ptr() if self.torch.is_tensor(a) else a for a in arguments]
        converted = [ctypes.c_void_p(p) if isinstance(p, int) and i > 1 else p for i, p in enumerate(pointers)]
        error = getattr(self.library, name)(*converted, ctypes.c_void_p(self.stream.cuda_stream))
        if error not in (0, NOT_SUPPORTED):
            raise RuntimeError(f"{name}: {self.library.sg3_cuda_message(error).decode()}")
        return int(error)

    def report(
        self, op: str, mode: str, name: str, dtype: str, error: float, call: Callable[[], Any], traffic: int
    ) -> None:
        """Time the call and append a row."""
        ms = self.median_ms(call)
        gb_per_s = traffic / 1e6 / ms
        row = {
            "op": op,
            "mode": mode,
            "shape": name,
            "dtype": dtype,
            "max_relative_error": error,
            "ok": error <= (MMA_TOLERANCES if op == MMA else TOLERANCES)[dtype],  # false for NaN
            "ms": ms,
            "gb_per_s": gb_per_s,
            "share_of_copy": gb_per_s / self.copy_gb_per_s,
        }
        self.rows.append(row)
        print(
            f"{op:15} {mode:18} {name:44} {dtype:9} {error:9.1e} {ms:9.4f} ms {gb_per_s:8.1f} GB/s "
            f"{row['share_of_copy']:6.1%}{'' if row['ok'] else '  WRONG'}",
            flush=True,
        )

    def check_fir(self, case: Fir, dtype: str) -> None:
        r = case.resampling
        x = self.random((case.batch, *r.in_sizes, case.channels), dtype)
        y = self.empty((case.batch, *r.out_sizes, case.channels), dtype)
        problem = Upfirdn2d(case.batch, case.channels, r.stage())

        def call() -> None:
            self.call("sg3_cuda_upfirdn2d", ctypes.byref(problem), TYPES[dtype], x, y)

        self.torch.cuda.synchronize()
        call()
        self.torch.cuda.synchronize()
        error = relative_error(self.sample(y), r.apply(self.torch, self.sample(x)))
        self.report("upfirdn2d", "", case.name, dtype, error, call, num_bytes(x, y))

    def check_lrelu(self, case: Lrelu, dtype: str, op: str = "filtered_lrelu") -> None:
        """Check all three modes; backward reads the mask that the forward pass with mask has written.

        Stops at the first mode that `op` does not support.
        """
        slack = 1e-4 if op != MMA else 2 * MMA_TOLERANCES[dtype]
        groups = -(-case.channels // 16)
        mask = self.empty((case.batch, groups, *case.up.out_sizes), "int32")
        bias = self.random((case.channels,), dtype)
        for mode, number in MODES.items():
            first, second = case.stages(mode)
            x = self.random((case.batch, *first.in_sizes, case.channels), dtype)
            y = self.empty((case.batch, *second.out_sizes, case.channels), dtype)
            problem = FilteredLrelu(case.batch, case.channels, first.stage(), second.stage(), case.slope, CLAMP, number)
            used_mask = None if mode == "forward" else mask
            call = self._lrelu_call(op, problem, dtype, x, bias, y, used_mask)
            self.torch.cuda.synchronize()
            if call() == NOT_SUPPORTED:
                print(op, case.name, dtype, mode, "not supported")
                return
            self.torch.cuda.synchronize()
            z = first.apply(self.torch, self.sample(x) + (0 if mode == "backward" else self.sample(bias[None])[0]))
            error = relative_error(self.sample(y), second.apply(self.torch, self.activate(case, mode, z, mask)))
            if mode == "forward with mask":
                error = max(error, self.mask_error(case, z, mask, slack))
            traffic = num_bytes(x, y) + (0 if used_mask is None else num_bytes(mask))
            self.report(op, mode, case.name, dtype, error, call, traffic)

    def _lrelu_call(
        self, op: str, problem: FilteredLrelu, dtype: str, x: Any, bias: Any, y: Any, mask: Any
    ) -> Callable[[], int]:
        def call() -> int:
            return self.call(f"sg3_cuda_{op}", ctypes.byref(problem), TYPES[dtype], x, bias, y, mask)

        return call

    def activate(self, case: Lrelu, mode: str, z: Any, mask: Any) -> Any:
        if mode == "backward":
            negative, clamped = self.mask_bits(mask, case.channels)
            return z * self.torch.where(negative, case.slope, 1.0) * ~clamped
        return self.torch.where(z < 0, z * case.slope, z).clamp(-CLAMP, CLAMP)

    def mask_bits(self, mask: Any, channels: int) -> tuple[Any, Any]:
        """Return (negative, clamped) of the sampled images and channels, [N, H, W, C]."""
        words = mask[sorted({0, mask.shape[0] - 1})]
        index = sampled_channels(channels)
        planes = self.torch.stack([words[:, c // 16] >> c % 16 for c in index], -1)
        return (planes & 1).bool(), (planes >> 16 & 1).bool()

    def mask_error(self, case: Lrelu, z: Any, mask: Any, slack: float) -> float:
        """Return 1 if the mask is wrong for any sample farther than `slack` from the thresholds, else 0."""
        torch = self.torch
        negative, clamped = self.mask_bits(mask, case.channels)
        active = torch.where(z < 0, z * case.slope, z).abs()
        wrong = ((z.abs() > slack) & (negative != (z < 0))).any()
        wrong |= (((active - CLAMP).abs() > slack) & (clamped != (active >= CLAMP))).any()
        unused = -case.channels % 16
        if unused:  # the bits beyond the last channel
            last = mask[:, -1]
            wrong |= ((last & 0xFFFF) >> (16 - unused)).bool().any()
            wrong |= ((last >> 16 & 0xFFFF) >> (16 - unused)).bool().any()
        return float(wrong)


def sampled_channels(channels: int) -> list[int]:
    """Return the channels that are compared."""
    return sorted({0, channels // 2, channels - 1})


def relative_error(actual: Any, expected: Any) -> float:
    """Return the largest difference as a share of the largest expected magnitude."""
    return float((actual - expected).abs().max() / expected.abs().max())


def num_bytes(*tensors: Any) -> int:
    """Return the size of all the tensors."""
    return sum(t.numel() * t.element_size() for t in tensors)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the report here, as JSON")
    parser.add_argument("--compile-only", action="store_true", help="build the launchers only; needs no GPU")
    parser.add_argument("--batch", type=int, default=8, help="images per call")
    parser.add_argument("--repeats", type=int, default=20, help="timed calls")
    parser.add_argument("--dtypes", nargs="+", choices=list(TYPES), default=list(TYPES))
    parser.add_argument("--ops", nargs="+", choices=(*OPERATIONS, MMA), default=(*OPERATIONS, MMA))
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    return parser.parse_args()


def load_torch() -> Any:
    """Return the module torch, or exit with a message if it or the GPU is missing."""
    try:
        import torch  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        sys.exit("gpu/check.py: PyTorch is not installed")
    if not torch.cuda.is_available():
        sys.exit("gpu/check.py: PyTorch finds no GPU")
    return torch


def main() -> int:
    """Run the checks and return the exit status."""
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        if args.compile_only:
            build(Path(folder))
            print("built; the structures agree")
            return 0
        torch = load_torch()
        checker = Checker(torch, build(Path(folder)), args.repeats)
    print(f"{torch.cuda.get_device_name()}, copies {checker.copy_gb_per_s:.0f} GB/s")
    device = {"name": torch.cuda.get_device_name(), "copy_gb_per_s": checker.copy_gb_per_s}

    def check(run: Callable[..., None], case: Fir | Lrelu, dtype: str, op: str) -> None:
        """Run a check, which may end in an error of the card, and write the report as it stands."""
        if args.only not in case.name or op not in args.ops:
            return
        try:
            run(case, dtype, *[op] * isinstance(case, Lrelu))
        except RuntimeError as error:  # after some of these, all later calls fail at once
            row = {"op": op, "shape": case.name, "dtype": dtype, "ok": False, "error": " ".join(str(error).split())}
            checker.rows.append(row)
            print(*row.values(), flush=True)
        if args.out:
            report = {"device": device, "batch": args.batch, "rows": checker.rows}
            partial = args.out.with_name(f".{args.out.name}")
            partial.write_text(json.dumps(report, indent=1) + "\n")
            partial.replace(args.out)

    for dtype in args.dtypes:
        for fir in firs(args.batch):
            check(checker.check_fir, fir, dtype, "upfirdn2d")
        for lrelu in (*layers(args.batch), *odd_lrelus()):
            check(checker.check_lrelu, lrelu, dtype, "filtered_lrelu")
            if dtype in MMA_TOLERANCES:
                check(checker.check_lrelu, lrelu, dtype, MMA)
    wrong = sum(not row["ok"] for row in checker.rows)
    print(f"{len(checker.rows)} rows, {wrong} wrong")
    return int(wrong > 0 or not checker.rows)


if __name__ == "__main__":
    sys.exit(main())
