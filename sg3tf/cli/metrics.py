"""Compute metrics of a generator, and print one JSON line per metric.

sg3tf metrics --network=runs/00000-stylegan3-t-faces-batch32-gamma2.048 --data=datasets/faces \\
    --metrics=fid50k_full,eqt50k_int --detector_dir=detectors --batch=32
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from sg3tf.metrics import METRIC_NAMES
from sg3tf.metrics.cache import default_cache_dir
from sg3tf.metrics.names import SELF_CONTAINED_METRICS
from sg3tf.metrics.samples import Images, open_data, resize_filter, uniform_classes
from sg3tf.utils import flags as shared
from sg3tf.utils.files import append_line
from sg3tf.utils.json_text import to_json
from sg3tf.utils.progress import Progress
from sg3tf.version import __version__

if TYPE_CHECKING:
    import tensorflow as tf

    from sg3tf.metrics import Evaluation


def define_flags(options: flags.FlagValues) -> None:
    """Define the flags of this command."""
    shared.define_network(options)
    shared.define_data(
        options,
        "Data set with real images, and labels for generated images; default, if a metric needs real images: that of "
        "the network's run.",
    )
    shared.define_detector_dir(options, "Folder with the detector networks; see docs/detectors.md.")
    shared.define_num_samples(options, None, "Number of generated images; default: as for published values.")
    shared.define_batch(options, 8, "Batch size on each device.")
    shared.define_seed(options, "Seed of latents, labels, transforms and subsets.")
    shared.define_out(options, "File to which the printed lines are also appended.", required=False)
    flags.DEFINE_list(
        "metrics",
        list(SELF_CONTAINED_METRICS),
        f"Metrics to compute: {', '.join(METRIC_NAMES)}.",
        flag_values=options,
    )
    flags.DEFINE_string(
        "class",
        None,
        "Only class to measure, by name or number: its images in --data, and generated ones; default: all.",
        flag_values=options,
    )
    flags.DEFINE_string(
        "cache_dir",
        str(default_cache_dir() or ""),
        "Folder for data set features and interrupted work; empty for none.",
        flag_values=options,
    )


def main(options: Any) -> None:
    """Run the command."""
    # Imported here, so that --help does not load TensorFlow.
    from sg3tf.metrics import Evaluation
    from sg3tf.models import hub
    from sg3tf.models.loading import class_names, load, resolve_network, weights_digest
    from sg3tf.models.provenance import training_provenance

    network = resolve_network(options.network)  # resolve once, because a run may still be training
    strategy = _all_devices()
    with strategy.scope():
        G = load(network)
    is_remote = hub.is_address(network)
    local = hub.fetch(network) if is_remote else Path(network)
    if options.data is None and not is_remote:
        options.data = _data_of_run(options.metrics, local)
    uniform = G.config.label_dim and not options.data
    if uniform and (G.config.label_dim == 1 or training_provenance(network, G.config.label_dim).label_scale):
        kind = "one number" if G.config.label_dim == 1 else "standardized numbers"
        raise ValueError(f"network={options.network}: its label is {kind}; give --data, whose labels are drawn")
    labels = uniform_classes(G.config.label_dim, options.seed) if uniform else None
    with contextlib.closing(_ProgressBars()) as bars:
        evaluation = Evaluation(
            options.metrics,
            G,
            _data(options, G.config, class_names(local)),
            detector_dir=options.detector_dir,
            cache_dir=options.cache_dir or None,
            num_samples=options.num_samples,
            batch=options.batch,
            seed=options.seed,
            labels=labels,
            strategy=strategy,
            progress=bars.show,
        )
        shared_entries = _shared_entries(evaluation, network, weights_digest(G), strategy, options)
        if options.out:
            Path(options.out).open("a").close()  # fail before computing the metrics
        for line in map(to_json, _lines(evaluation, shared_entries)):
            print(line, flush=True)
            if options.out:
                append_line(Path(options.out), line)


def _data_of_run(names: Sequence[str], network: Path) -> str | None:
    """Return the path of the data that the network's run was trained on, if a metric compares with it and it exists.

    Raises:
        ValueError: it holds other images now.
    """
    from sg3tf.metrics.registry import METRICS, FeatureMetric
    from sg3tf.models.provenance import follow_link
    from sg3tf.models.run_folder import OPTIONS, run_of

    kinds = [METRICS[name].kind for name in names if name in METRICS]
    run = run_of(follow_link(network.absolute()))
    if run is None or not any(isinstance(kind, FeatureMetric) and kind.max_real for kind in kinds):
        return None
    try:
        recorded = json.loads((run / OPTIONS).read_text(encoding="utf-8"))
        data, digest, resolution = (recorded[name] for name in ("data", "data_digest", "resolution"))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not isinstance(data, str) or not Path(data).is_absolute() or not Path(data).exists():  # older runs: relative
        return None
    if open_data(data, resolution=resolution).digest != digest:
        raise ValueError(f"data: {data} holds other images than when {run} was trained; give --data")
    print(f"--data={data}, as in {run / OPTIONS}", file=sys.stderr)
    return data


def _data(options: Any, config: Any, classes: Sequence[str]) -> str | Images | None:
    """Return the path of the data, or its images of --class, whose labels generated images get.

    Networks without class names, such as converted ones, have the original numbers of the data's classes.
    """
    name = options["class"].value
    if name is not None and not (options.data and config.label_dim):
        raise ValueError(f"class={name}: needs a network with labels, and --data with images of the class")
    if not options.data or not config.label_dim:
        return options.data or None
    data = open_data(options.data, resolution=config.resolution, labels=True)
    data = data if name is None else data.of_class(name)
    return data if classes else data.with_label_dim(config.label_dim)


def _all_devices() -> tf.distribute.Strategy:
    import tensorflow as tf

    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def _lines(evaluation: Evaluation, shared_entries: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the values of each metric, with everything needed to reproduce them."""
    start = time.monotonic()
    for result in evaluation:
        yield {
            "metric": result.metric,
            "results": result.values,
            "unit": result.unit,
            "num_samples": result.num_samples,
            "num_real": result.num_real,
            "seconds": round(time.monotonic() - start, 3),
            **shared_entries,
        }
        start = time.monotonic()


def _shared_entries(
    evaluation: Evaluation, network: str, weights: str, strategy: tf.distribute.Strategy, options: Any
) -> dict[str, Any]:
    import tensorflow as tf

    from sg3tf.models.provenance import training_provenance

    return {
        "seed": options.seed,
        "batch": options.batch,
        "replicas": strategy.num_replicas_in_sync,
        "labels": evaluation.labels and evaluation.labels.origin,
        "network": options.network,
        "weights": weights,
        "kimg": training_provenance(network).training_kimg,
        "data": None if evaluation.data is None else _data_entry(evaluation.data),
        "detectors": {
            name: {"digest": detector.digest, "resize": detector.resize}
            for name, detector in evaluation.detectors.items()
        },
        "sg3tf": __version__,
        "tensorflow": tf.__version__,
    }


def _data_entry(data: Images) -> dict[str, Any]:
    return {
        "path": str(data.path),
        "digest": data.digest,
        "part": data.part,
        "num_images": len(data),
        "resize_filter": resize_filter(data),
    }


class _ProgressBars:
    """Successive progress bars, each with the remaining time."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def show(self, description: str, done: int, count: int) -> None:
        if self._bar is None or self._bar.description != description:
            self.close()
            self._bar = Progress(count, done=done, description=description)
        self._bar.update(done - self._bar.done)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
