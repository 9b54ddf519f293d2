"""Predict the time of the CUDA kernels on an H100 or H200 from their machine code, on a machine without a GPU.

python custom_ops/gpu/predict.py --out=predictions.json

The launchers run unchanged, with a stand-in for the driver that records each launch (launches.py). sass.py executes a
sample of the warps of each launch, instruction by instruction as far as addresses and loops require, and counts
instructions, bank conflicts and sectors. cost.py converts the counts to milliseconds, with a calibration on measured
kernels. Requires g++, NVRTC or nvcc, cuobjdump and nvdisasm; `pip install -e ".[dev]" nvidia-cuda-nvrtc-cu12` installs
all but the first.

With --measured=FILE, a report of gpu/check.py for the same kernels, also makes and writes a new calibration. The output
also lists the times of the earlier kernels and of the official plugin, and the targets.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from custom_ops.gpu import check, cost, launches, sass  # noqa: E402
from sg3tf.models.configs import GeneratorConfig  # noqa: E402
from sg3tf.models.layer_plan import plan_synthesis  # noqa: E402
from sg3tf.models.presets import generator_preset  # noqa: E402

CALIBRATION = ROOT / "benchmarks/results/gpu-calibration.json"
MEASURED = ROOT / "benchmarks/results/gpu-measured-h200.json"
CLAMP = 256.0  # of the networks
OPERATIONS = {"filtered_lrelu": "filtered_lrelu", "filtered_lrelu_mma": "filtered_lrelu", "upfirdn2d": "upfirdn2d"}
#: Milliseconds of all layers of a network in 16 bits: forward, forward with mask, backward.
TARGETS = {
    "stylegan3-t-256": (2.5, 3.0, 3.5),
    "stylegan3-r-256": (6.0, 7.0, 9.0),
    "stylegan3-t-1024": (8.0, 10.0, 12.0),
}


def pointers(count: int) -> list[ctypes.c_void_p]:
    """Return addresses that are aligned and far apart; they are never read."""
    return [ctypes.c_void_p((i + 1) << 40) for i in range(count)]


def lrelu_call(case: check.Lrelu, mode: str, dtype: str) -> tuple[Any, list[Any], int, int]:
    """Return (problem, arguments after it, outputs, bytes that must move)."""
    first, second = case.stages(mode)
    problem = check.FilteredLrelu(
        case.batch, case.channels, first.stage(), second.stage(), case.slope, CLAMP, check.MODES[mode]
    )
    x, bias, y, mask = pointers(4)
    used_mask = None if mode == "forward" else mask
    size = 4 if dtype == "float32" else 2
    planes = case.batch * case.channels
    outputs = planes * second.out_sizes[0] * second.out_sizes[1]
    traffic = size * (outputs + planes * first.in_sizes[0] * first.in_sizes[1])
    if used_mask is not None:
        traffic += 4 * case.batch * -(-case.channels // 16) * case.up.out_sizes[0] * case.up.out_sizes[1]
    return problem, [check.TYPES[dtype], x, bias, y, used_mask, None], outputs, traffic


def fir_call(case: check.Fir, dtype: str) -> tuple[Any, list[Any], int, int]:
    """Return (problem, arguments after it, outputs, bytes that must move)."""
    r = case.resampling
    x, y = pointers(2)
    size = 4 if dtype == "float32" else 2
    planes = case.batch * case.channels
    outputs = planes * r.out_sizes[0] * r.out_sizes[1]
    traffic = size * (outputs + planes * r.in_sizes[0] * r.in_sizes[1])
    return check.Upfirdn2d(case.batch, case.channels, r.stage()), [check.TYPES[dtype], x, y, None], outputs, traffic


@dataclasses.dataclass(frozen=True)
class Case:
    """A call of a launcher. `outputs` is the number of output samples, `traffic` the bytes that must move."""

    operation: str
    mode: str
    shape: str
    dtype: str
    problem: Any
    arguments: list[Any]
    outputs: int
    traffic: int

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.operation, self.mode, self.shape, self.dtype


def cases(batch: int, dtypes: list[str], operations: list[str]) -> Iterator[Case]:
    """Yield the calls that gpu/check.py times."""
    for dtype in dtypes:
        for operation in operations:
            if operation == "upfirdn2d":
                for fir in check.firs(batch):
                    yield Case(operation, "", fir.name, dtype, *fir_call(fir, dtype))
                continue
            for layer in check.layers(batch):
                for mode in check.MODES:
                    yield Case(operation, mode, layer.name, dtype, *lrelu_call(layer, mode, dtype))


def signature(layer: check.Lrelu) -> tuple[object, ...]:
    """Return everything that distinguishes a layer from others, except its name."""
    filters = tuple(f.tobytes() for r in (layer.up, layer.down) for f in (r.filter.y, r.filter.x))
    return layer.up.in_sizes, layer.up.out_sizes, layer.down.out_sizes, layer.channels, layer.slope, filters


def geometry(problem: ctypes.Structure) -> tuple[object, ...]:
    """Return the numbers of a problem, except its taps."""
    values = [getattr(problem, name) for name, kind, *_ in problem._fields_ if not issubclass(kind, ctypes._Pointer)]
    return tuple(geometry(value) if isinstance(value, ctypes.Structure) else value for value in values)


def network_layers(batch: int) -> dict[str, list[str]]:
    """Return the shapes, by the names in `cases`, of all layers of each network."""
    names = {signature(layer): layer.name for layer in check.layers(batch)}
    result = {}
    for preset, resolution in check.NETWORKS:
        plan = plan_synthesis(cast(GeneratorConfig, generator_preset(preset, resolution)))
        name = f"{preset}-{resolution}"
        result[name] = [names[signature(check.layer("", p, batch))] for p in plan.layers]
    return result


class Counter:
    """Counts the instructions of launches, on a sample of their warps."""

    def __init__(self, launchers: launches.Launchers, repeats: int) -> None:
        self.launchers = launchers
        self.repeats = repeats
        self._programs: dict[Path, dict[str, sass.Program]] = {}
        self._rows: dict[tuple[object, ...], dict[str, Any] | None] = {}

    def program(self, launch: launches.RecordedLaunch) -> sass.Program:
        """Return the machine code of a launched kernel."""
        if launch.cubin not in self._programs:
            functions = sass.parse(launches.listing(launch.cubin))
            self._programs[launch.cubin] = {name: sass.Program(code) for name, code in functions.items()}
        return self._programs[launch.cubin][launch.kernel]

    def count(self, launch: launches.RecordedLaunch) -> tuple[sass.Counts, float]:
        """Return the counts of a sample and the factor from the sample to the launch.

        Executes each warp of a block `repeats` times, each time in another random block.
        """
        program, info = self.program(launch), self.launchers.info(launch)
        visible = sass.Launch.create(launch.grid, launch.block, launch.parameters, info.parameters_at)
        rng = np.random.default_rng(0)
        total = sass.Counts()
        for _ in range(self.repeats):
            for warp in range(launch.warps_per_block):
                z, y, x = np.unravel_index(rng.integers(launch.blocks), launch.grid[::-1])
                total.add(program.run(visible, (int(x), int(y), int(z)), warp))
        return total, launch.blocks * launch.warps_per_block / total.warps

    def work(self, launch: launches.RecordedLaunch, traffic: int) -> tuple[cost.Work, sass.Counts]:
        """Return the work of a launch and the counts of the sample."""
        counts, factor = self.count(launch)
        info = self.launchers.info(launch)
        work = cost.Work(
            kinds={kind: round(count * factor) for kind, count in sorted(counts.kinds().items())},
            shared_wavefronts=round(counts.shared_wavefronts * factor),
            global_sectors=round(counts.global_sectors * factor),
            traffic=traffic,
            blocks=launch.blocks,
            warps_per_block=launch.warps_per_block,
            registers=info.registers,
            shared=launch.dynamic_shared + info.static_shared,
        )
        return work, counts

    def row(self, case: Case) -> dict[str, Any] | None:
        """Return the row of a case, without times; None if the launcher does not support it.

        Calls that differ only in taps, such as layers of two networks, are executed once.
        """
        key = (case.operation, case.mode, case.dtype, geometry(case.problem))
        if key not in self._rows:
            self._rows[key] = self._row(case)
        row = self._rows[key]
        return row and {**row, "shape": case.shape}

    def _row(self, case: Case) -> dict[str, Any] | None:
        status, recorded = self.launchers.call(
            f"sg3_cuda_{case.operation}", ctypes.byref(case.problem), *case.arguments
        )
        if status == check.NOT_SUPPORTED:
            return None
        if status != 0:
            sys.exit(f"gpu/predict.py: {case.shape}: {self.launchers.library.sg3_cuda_message(status).decode()}")
        works, conflicts, unknown = [], [], 0
        for launch in recorded:
            work, counts = self.work(launch, case.traffic // len(recorded))
            works.append(work)
            conflicts.append(counts.shared_wavefronts / max(counts.ideal_wavefronts, 1))
            unknown += counts.unknown_branches
        operation, mode, shape, dtype = case.key
        kinds: dict[str, float] = {}
        for work in works:
            for kind, count in work.kinds.items():
                kinds[kind] = kinds.get(kind, 0) + count * 32 / case.outputs
        return {
            "op": operation,
            "mode": mode,
            "shape": shape,
            "dtype": dtype,
            "outputs": case.outputs,
            "per_output": {kind: round(count, 2) for kind, count in kinds.items()},
            "multiply_share": round((kinds.get("multiply", 0) + kinds.get("tensor", 0)) / sum(kinds.values()), 3),
            "bank_conflicts": round(max(conflicts), 2),
            "unknown_branches": unknown,
            "blocks_per_multiprocessor": [w.resident_blocks for w in works],
            "works": [dataclasses.asdict(w) for w in works],
        }


def works_of(row: dict[str, Any]) -> list[cost.Work]:
    """Return the launches of a row."""
    return [cost.Work(**w) for w in row["works"]]


def add_times(rows: list[dict[str, Any]], calibrations: dict[str, cost.Calibration]) -> None:
    """Add predicted times to rows, and the time that each resource alone would need."""
    for row in rows:
        calibration = calibrations[OPERATIONS[row["op"]]]
        works = works_of(row)
        row["predicted_ms"] = round(sum(calibration.predict(w) for w in works), 4)
        bounds: dict[str, float] = {}
        for work in works:
            for name, ms in work.bounds_ms().items():
                bounds[name] = bounds.get(name, 0) + ms
        row["bounds_ms"] = {name: round(ms, 4) for name, ms in bounds.items()}


def calibrate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Calibrate each operation on rows with "measured_ms", and report the errors.

    The errors are those of predictions for networks, or kinds of filters, that the calibration left out.
    """
    result = {}
    for operation in sorted({OPERATIONS[row["op"]] for row in rows}):
        used = [row for row in rows if row["op"] == operation and "measured_ms" in row]
        works = [works_of(row)[0] for row in used]
        measured = [row["measured_ms"] for row in used]
        groups = [group_of(row) for row in used]
        calibration = cost.Calibration.fit(works, measured)
        errors = np.array(cost.leave_one_out(works, measured, groups))
        own = np.array([calibration.predict(w) / ms - 1 for w, ms in zip(works, measured, strict=True)])
        result[operation] = {
            "calibration": dataclasses.asdict(calibration),
            "rows": len(used),
            "mean_absolute_error": round(float(np.mean(np.abs(own))), 3),
            "left_out": {
                group: {
                    "mean_error": round(float(np.mean(errors[chosen])), 3),
                    "mean_absolute_error": round(float(np.mean(np.abs(errors[chosen]))), 3),
                    "largest_error": round(float(np.max(np.abs(errors[chosen]))), 3),
                }
                for group in sorted(set(groups))
                for chosen in [[g == group for g in groups]]
            },
        }
    return result


def group_of(row: dict[str, Any]) -> str:
    """Return the network, or the kind of filter, that a row belongs to."""
    words = row["shape"].split()
    return words[0] if row["op"] != "upfirdn2d" or words[0] == "augment" else " ".join(words[:2])


def sums(rows: list[dict[str, Any]], batch: int) -> list[dict[str, Any]]:
    """Return the times of all layers of each network, for each operation, mode and type that has them all.

    filtered_lrelu_mma stands for itself where it supports a layer, and for filtered_lrelu elsewhere.
    """
    result = []
    by_key = {(r["op"], r["mode"], r["shape"], r["dtype"]): r for r in rows}
    for network, shapes in network_layers(batch).items():
        for op, mode, dtype in sorted({(r["op"], r["mode"], r["dtype"]) for r in rows if r["op"] != "upfirdn2d"}):
            found = [by_key.get((op, mode, s, dtype)) or by_key.get((OPERATIONS[op], mode, s, dtype)) for s in shapes]
            present = [row for row in found if row is not None]
            if len(present) < len(shapes) or all(row["op"] != op for row in present):
                continue
            entry = {"network": network, "op": op, "mode": mode, "dtype": dtype}
            for name in ("predicted_ms", "measured_ms"):
                if all(name in row for row in present):
                    entry[name] = round(sum(row[name] for row in present), 3)
            result.append(entry)
    return result


def add_comparisons(rows: list[dict[str, Any]], totals: list[dict[str, Any]], record: dict[str, Any]) -> None:
    """Add the times of the earlier kernels and of the official plugin, and the targets."""
    before = {(r["op"], r["mode"], r["shape"], r["dtype"]): r["ms"] for r in record["rows"]}
    official = {(f"{r['network']} {r['name']}", r["dtype"]): r for r in record["official"]}
    shapes = network_layers(record["batch"])
    for row in rows:
        old = before.get((OPERATIONS[row["op"]], row["mode"], row["shape"], row["dtype"]))
        plugin = official.get((row["shape"], row["dtype"])) if row["op"] != "upfirdn2d" else None
        if old is not None:
            row["before_ms"] = round(old, 4)
        if plugin is not None:
            row["official_ms"] = round(plugin[row["mode"]], 4)
    for total in totals:
        network, mode, dtype = total["network"], total["mode"], total["dtype"]
        old_keys = [("filtered_lrelu", mode, shape, dtype) for shape in shapes[network]]
        if all(key in before for key in old_keys):
            total["before_ms"] = round(sum(before[key] for key in old_keys), 2)
        plugins = [r[mode] for r in record["official"] if r["network"] == network and r["dtype"] == dtype]
        if plugins:
            total["official_ms"] = round(sum(plugins), 2)
        if dtype != "float32":
            total["target_ms"] = TARGETS[network][list(check.MODES).index(mode)]


def print_row(row: dict[str, Any]) -> None:
    """Print a row's main figures."""
    bounds = sorted(row["bounds_ms"].items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{name} {ms:.3f}" for name, ms in bounds)
    measured = f" (measured {row['measured_ms']:.3f})" if "measured_ms" in row else ""
    print(
        f"{row['op']:18} {row['mode']:18} {row['shape']:32} {row['dtype']:8} {row['predicted_ms']:8.3f} ms{measured}; "
        f"{sum(row['per_output'].values()):6.1f} instructions per output, {row['multiply_share']:.0%} multiply; "
        f"alone: {named} ms",
        flush=True,
    )


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the predictions here, as JSON")
    parser.add_argument("--measured", type=Path, help="measured times of the same kernels, to calibrate on")
    parser.add_argument("--calibration", type=Path, default=CALIBRATION, help="earlier output with --measured")
    parser.add_argument("--arch", type=int, default=90, help="compute capability to compile for, 90 for 9.0")
    parser.add_argument("--ops", nargs="+", choices=list(OPERATIONS), default=list(OPERATIONS))
    parser.add_argument("--dtypes", nargs="+", choices=list(check.TYPES), default=["float16", "float32"])
    parser.add_argument("--batch", type=int, default=8, help="images per call")
    parser.add_argument("--only", default="", help="only shapes whose name contains this")
    parser.add_argument("--repeats", type=int, default=1, help="blocks in which each warp of a block is executed")
    return parser.parse_args()


def main() -> int:
    """Count, predict, print and write."""
    args = parse_arguments()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(launches.Launchers(Path(folder), args.arch), args.repeats)
        measured = {}
        if args.measured:
            record = json.loads(args.measured.read_text())
            measured = {(r["op"], r["mode"], r["shape"], r["dtype"]): r["ms"] for r in record["rows"]}
            calibrations = {}
        else:
            calibrations = load_calibrations(args.calibration)
        for case in cases(args.batch, args.dtypes, args.ops):
            row = counter.row(case) if args.only in case.shape else None
            if row is None:
                continue
            if case.key in measured:
                row["measured_ms"] = round(measured[case.key], 4)
            rows.append(row)
            if calibrations:
                add_times([row], calibrations)
                print_row(row)
    report: dict[str, Any] = {
        "command": f"python custom_ops/gpu/predict.py {' '.join(sys.argv[1:])}",
        "arch": args.arch,
        "batch": args.batch,
    }
    if args.measured:
        report["calibrations"] = calibrate(rows)
        calibrations = {op: cost.Calibration(**c["calibration"]) for op, c in report["calibrations"].items()}
        add_times(rows, calibrations)
        print(json.dumps(report["calibrations"], indent=1))
    report["sums"] = sums(rows, args.batch)
    add_comparisons(rows, report["sums"], json.loads(MEASURED.read_text()))
    for entry in report["sums"]:
        print(entry)
    report["rows"] = rows
    if args.out:
        args.out.write_text(dump(report))
    return 0


def load_calibrations(path: Path) -> dict[str, cost.Calibration]:
    """Return the calibration of each operation from the output of an earlier run with --measured."""
    stored = json.loads(path.read_text())["calibrations"]
    return {operation: cost.Calibration(**c["calibration"]) for operation, c in stored.items()}


def dump(report: dict[str, Any]) -> str:
    """Return JSON with one row per line."""
    rows = ",\n".join(json.dumps(row) for row in report["rows"])
    head = json.dumps({key: value for key, value in report.items() if key != "rows"}, indent=1)
    return f'{head[:-2]},\n "rows": [\n{rows}\n]\n}}\n'


if __name__ == "__main__":
    sys.exit(main())
