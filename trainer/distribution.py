"""Distribution strategies by name (--strategy), and the workers of a multi-host run."""

from __future__ import annotations

import json
import os
import re
import signal

import tensorflow as tf

from sg3tf.ops.backend import training_backend
from sg3tf.utils.error_text import first_line
from trainer._tf_private import configure_heartbeats
from trainer.config import DEFAULTS, STRATEGY_HELP
from trainer.errors import OptionError
from trainer.rendezvous import wait_for_workers


def make_strategy(
    name: str,
    communication: str = DEFAULTS["communication"],
    start_timeout: float = DEFAULTS["start_timeout"],
    reduce_timeout: float = DEFAULTS["reduce_timeout"],
    heartbeat_timeout: float = DEFAULTS["heartbeat_timeout"],
) -> tf.distribute.Strategy:
    """Return the strategy called `name`; call once per process, before any other use of TensorFlow.

    TensorFloat-32 is switched off: the published networks were not trained with its 10-bit mantissa.

    Args:
        name: value of --strategy.
        communication: value of --communication.
        start_timeout: seconds to wait for the other workers.
        reduce_timeout: seconds that a reduction between workers may take; 0: no limit.
        heartbeat_timeout: seconds without a heartbeat after which a worker is considered lost.

    Raises:
        OptionError: the name is unknown, or a device or worker is missing.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    # The remapper would only fuse biases, but fails on these graphs' gradients, with a message at every start.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if name == "auto":
        name = "multiworker" if len(_workers()) > 1 else {0: "cpu", 1: "gpu:0"}.get(len(gpus), "mirrored")
    if name == "multiworker":
        return _several_workers(communication, start_timeout, reduce_timeout, heartbeat_timeout)
    if name == "mirrored":
        if not gpus:
            raise OptionError("--strategy=mirrored: TensorFlow finds no GPU; use --strategy=cpu")
        return tf.distribute.MirroredStrategy()
    match = re.fullmatch(r"(gpu|cpu)(?::(\d+))?|tpu(?::(.+))?", name)
    if not match:
        raise OptionError(f"--strategy={name}: use {STRATEGY_HELP}")
    if match[1] is None:
        return _tpu(match[3] or "")
    return _gpu(int(match[2] or 0), len(gpus)) if match[1] == "gpu" else _cpu(name, match[2], bool(gpus))


def training_backend_for(strategy: tf.distribute.Strategy) -> str:
    """Return the backend of sg3tf.ops to train with under a strategy."""
    return "xla" if isinstance(strategy, tf.distribute.TPUStrategy) else training_backend()


def _gpu(number: int, count: int) -> tf.distribute.Strategy:
    if number >= count:
        raise OptionError(f"--strategy=gpu:{number}: TensorFlow finds {count} GPUs")
    return tf.distribute.OneDeviceStrategy(f"/gpu:{number}")


def _cpu(name: str, devices: str | None, hide_gpus: bool) -> tf.distribute.Strategy:
    if hide_gpus:
        tf.config.set_visible_devices([], "GPU")
    count = int(devices or 1)
    if not count:
        raise OptionError(f"--strategy={name}: use cpu, or cpu:N for N logical devices, N at least 1")
    if count == 1:
        return tf.distribute.OneDeviceStrategy("/cpu:0")
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    return tf.distribute.MirroredStrategy(
        [f"/cpu:{index}" for index in range(count)],
        # The default communication cannot feed Keras optimizers on logical CPUs.
        cross_device_ops=tf.distribute.HierarchicalCopyAllReduce(),
    )


def _tpu(name: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu=name)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise OptionError(f"--strategy=tpu:{name}: no such TPU can be reached ({first_line(error)})") from error
    return tf.distribute.TPUStrategy(resolver)


# --- Several hosts ----------------------------------------------------------------------------------------------------


def _workers() -> list[str]:
    """Return the addresses of all workers; none without TF_CONFIG."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return []
    example = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        if set(config["cluster"]) == {"worker"} and task["type"] == "worker" and 0 <= task["index"] < len(workers):
            return list(workers)
    except (ValueError, TypeError, LookupError):
        pass
    raise OptionError(f"TF_CONFIG={text}: must be like {example}")


def _several_workers(
    communication: str, start_timeout: float, reduce_timeout: float, heartbeat_timeout: float
) -> tf.distribute.Strategy:
    workers = _workers()
    if not workers:
        raise OptionError("--strategy=multiworker: needs the environment variable TF_CONFIG; see docs/distribution.md")
    print(f"Waiting for the other workers of TF_CONFIG ({len(workers) - 1})", flush=True)
    wait_for_workers(workers, json.loads(os.environ["TF_CONFIG"])["task"]["index"], start_timeout)
    implementation = tf.distribute.experimental.CommunicationImplementation[communication.upper()]
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=implementation, timeout_seconds=reduce_timeout or None
    )
    configure_heartbeats(len(workers), heartbeat_timeout)
    # The strategy waits in C++ code that only the default SIGINT handler can interrupt, and replaces SIGTERM's handler.
    on_sigterm = signal.getsignal(signal.SIGTERM)
    on_sigint = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        raise OptionError(f"TF_CONFIG: the workers cannot connect to each other ({first_line(error)})") from error
    finally:
        signal.signal(signal.SIGINT, on_sigint)
        signal.signal(signal.SIGTERM, on_sigterm or signal.SIG_DFL)  # None: it was not set in Python


class Workers:
    """Processes that train together; usually one.

    Args:
        strategy: strategy of the run.

    Attributes:
        index: number of this process; 0 is the chief, the only one that writes the run folder.
        count: number of processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        self._addresses = _workers() if several else [""]
        self.count = len(self._addresses)
        self.index = strategy.cluster_resolver.task_id if several else 0
        # Outside of a function, TensorFlow would make a new graph in every call.
        self._gather = tf.function(lambda numbers: strategy.gather(numbers, axis=0), autograph=False)

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def part(self, rows: int) -> slice:
        """Return this worker's part of `rows`, as a slice."""
        return slice(rows * self.index // self.count, rows * (self.index + 1) // self.count)

    def describe_lost_workers(self, error: BaseException) -> str:
        """Numbers and addresses of the other workers that a TensorFlow error names."""
        named = {int(number) for number in re.findall(r"/job:worker(?:/replica:\d+)?/task:(\d+)", str(error))}
        others = set(range(self.count)) - {self.index}
        if len(others) > 1:
            others &= named
        return ", ".join(f"worker {one} ({self._addresses[one]})" for one in sorted(others)) or "another worker"

    def any_worker(self, flag: bool) -> bool:
        """Return True if the flag is set in any worker; all workers must call this at the same time."""
        return any(self._gathered(int(flag)))

    def broadcast_from_chief(self, number: int) -> int:
        """Return the chief's `number`, an int64; all workers must call this at the same time."""
        return sum(self._gathered(number if self.is_chief else 0))

    def require_equal(self, number: int, what: str) -> None:
        """Raise OptionError if `number` differs between the workers; `what` is its name in the message."""
        numbers = self._gathered(number)
        if len(set(numbers)) > 1:
            raise OptionError(f"{what} differ between the workers ({numbers}): give all the same flags and files")

    def _gathered(self, number: int) -> list[int]:
        """The numbers of all workers, one of each with any number of devices."""
        if self.count == 1:
            return [number]
        return list(self._gather(tf.constant([number], tf.int64)).numpy().tolist())
