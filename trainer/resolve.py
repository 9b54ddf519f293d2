"""Resolution of a run's options and images from the given options, the data set and the run to resume."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from sg3tf.data.dataset import Dataset, open_dataset
from sg3tf.data.sampler import ORDERS
from sg3tf.models import hub
from trainer import evaluation
from trainer.config import DEFAULTS, Options
from trainer.errors import OptionError
from trainer.option_flags import check_given
from trainer.run_dir import ResumePoint


def resolve(
    given: Mapping[str, Any], replicas: int, point: ResumePoint | None
) -> tuple[Options, Dataset, Dataset | None]:
    """Open the data and resolve all options before anything is written; `check_init_from` checks --init_from.

    Args:
        given: options by name; all others have their defaults, or the values of the run to resume.
        replicas: number of devices, across all workers.
        point: checkpoint to resume from; None: a new run.

    Returns:
        Options, training images, held-out images (None without --validation).

    Raises:
        OptionError, ConfigError, DataError: something is missing, or does not fit the data, the devices or the run to
            resume; the message has the remedy.
    """
    given = _with_recorded_source(given, point)
    if point and given.get("precision") == "auto":  # measured when the run began
        given = {**given, "precision": point.options.precision}
    values = {**DEFAULTS, **(dataclasses.asdict(point.options) if point else {}), **given}
    for name, purpose in {"data": "images to train on", "batch": "images per step, such as --batch=32"}.items():
        if values[name] in (None, ""):
            raise OptionError(f"--{name}: is missing; give the {purpose}")
    if values["batch"] % replicas:
        raise OptionError(f"--batch={values['batch']}: must be a multiple of the {replicas} devices of --strategy")
    if "batch_per_replica" not in given:
        values["batch_per_replica"] = _batch_per_replica(values, replicas)
    if point and "data" not in given and not os.path.exists(values["data"]):
        folder = "" if os.path.isabs(values["data"]) else f" in {os.getcwd()}"
        raise OptionError(f"--data={values['data']}: does not exist{folder}; give the path that the images have now")
    dataset, held_out = open_data(values)
    options = Options.for_dataset(dataset, **values)
    if point and options.data_digest == point.options.data_digest:  # the same images, possibly under another name
        options = dataclasses.replace(options, data_name=point.options.data_name)
    check_given(given, options)
    options.num_accumulation_steps(replicas)  # raises if the batch does not divide evenly
    evaluation.check_metrics(options)
    return options, dataset, held_out


def _with_recorded_source(given: Mapping[str, Any], point: ResumePoint | None) -> Mapping[str, Any]:
    """Return `given` with --init_from as an absolute path or an address, or as recorded in the run to resume.

    A resumed run no longer reads that source, which may be gone, moved, or given in another form.
    """
    if not given.get("init_from"):
        return given
    source, recorded = given["init_from"], point and point.options.init_from
    if not hub.is_address(source):
        source = os.path.abspath(source)
    return {**given, "init_from": recorded if recorded and _may_be_same(source, recorded) else source}


def _may_be_same(source: str, recorded: str) -> bool:
    """Return True if both name the same source, or if the recorded path is gone, so `source` may be its new name."""
    if hub.is_address(recorded):  # an address cannot move
        return hub.is_address(source) and hub.identity(source) == hub.identity(recorded)
    return source == os.path.abspath(recorded) or not os.path.exists(recorded)


def open_data(values: Mapping[str, Any]) -> tuple[Dataset, Dataset | None]:
    """Open the images to train on, and those held out."""
    order = values.get("data_order", ORDERS[-1])
    dataset = open_dataset(
        values["data"],
        resolution=values["resolution"],
        use_labels=values["cond"],
        max_images=values["max_images"],
        order=order,
    )
    if values["cache"]:
        dataset = dataset.cached(values["cache"] * 1e9)
    training, held_out = dataset, None
    if values["validation"]:
        training, held_out = dataset.split(values["validation"], order)
    if values["balance"]:
        training = training.balanced()
        if held_out and order > 2:  # r_v compares the logits of both, which may depend on the class distribution
            held_out = held_out.balanced()
    return training, held_out


def _batch_per_replica(values: Mapping[str, Any], replicas: int) -> int:
    """Return the resumed run's value, unless the batch is not a multiple of it on the current number of devices."""
    previous, batch = values["batch_per_replica"], int(values["batch"])
    if previous is not None and batch % (previous * replicas) == 0:
        return int(previous)
    return batch // replicas
