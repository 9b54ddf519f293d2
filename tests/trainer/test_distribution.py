"""Two worker processes on this machine: the same training as one process with two devices, and a common end."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import signal
import time
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers import worker_soak
from tests.helpers.addresses import free_addresses
from tests.helpers.kill_soak import QUICK
from tests.helpers.kill_time import random_delay
from tests.helpers.training_process import HANGS_AFTER_S, NAME, finish, flags, only, scalars, start
from tests.helpers.worker_soak import PROGRAMS, Network, Trial, disturb, namespaces_are_permitted
from trainer import _tf_private, distribution, run_dir
from trainer.errors import OptionError

STEPS = 24
COMMON = {"kimg": (8 * STEPS - 4) / 1000, "tick": 0.032, "snap": 100, "checkpoint": 1, "ada_kimg": 1, "mirror": True}
COMMON |= {"batch_per_replica": 4, "resume": "latest", "workers": 2}


class Ended(NamedTuple):
    """Results of the two workers."""

    statuses: list[int]
    out: list[str]
    err: list[str]


def begin(arguments, module="trainer.main"):
    """Start both workers."""
    addresses = free_addresses(2)
    config = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(2)]
    return [start(arguments, {"TF_CONFIG": json.dumps(one)}, module) for one in config]


def wait_for_a_checkpoint(workers, outdir):
    began = time.monotonic()
    while not list(outdir.glob("*/checkpoints/0*")):
        assert all(worker.poll() is None for worker in workers), [worker.communicate() for worker in workers]
        assert time.monotonic() - began < HANGS_AFTER_S
        time.sleep(0.05)


def end(workers):
    results = [finish(worker) for worker in workers]
    return Ended(*map(list, zip(*results, strict=True)))


def statistics(run):
    """Statistics that do not depend on the machine."""
    kept = ("Loss/", "Progress/", "Gradients/")
    rows = scalars(run)
    return [{n: v for n, v in row.items() if n.startswith(kept) and n != "Progress/goodput"} for row in rows]


def weights(run):
    reader = tf.train.load_checkpoint(str(run_dir.checkpoints(run)[-1] / "state"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name) for name in names}


@pytest.fixture(scope="module")
def outdir(tmp_path_factory):
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def straight(outdir, faces):
    """(run folder, results) of an uninterrupted run."""
    ended = end(begin(flags(outdir / "straight", faces, **COMMON, cond=True, strategy="auto")))
    return only((outdir / "straight").iterdir()), ended


@pytest.fixture(scope="module")
def interrupted(outdir, faces):
    """(run folder, results after a worker was killed, results after both were started again)."""
    arguments = flags(outdir / "killed", faces, **COMMON, cond=True, strategy="auto")
    workers = begin(arguments)
    wait_for_a_checkpoint(workers, outdir / "killed")
    time.sleep(random_delay(0.5))
    workers[1].send_signal(signal.SIGKILL)
    killed = end(workers)
    return only((outdir / "killed").iterdir()), killed, end(begin(arguments))


@pytest.mark.slow
def test_both_end_well_and_the_chief_alone_speaks(straight):
    run, ended = straight
    assert ended.statuses == [0, 0], ended.err
    assert run.name == f"00000-{NAME}"
    assert "kimg 0.2 " in ended.out[0] and "kimg" not in ended.out[1]
    assert len(statistics(run)) == 6


@pytest.mark.slow
def test_losses_are_those_of_one_process_with_two_devices(straight, outdir, faces):
    status, _, err = finish(start(flags(outdir / "one", faces, **COMMON, cond=True, strategy="cpu:2")))
    assert status == 0, err
    one, two = statistics(only((outdir / "one").iterdir())), statistics(straight[0])
    # Sums over replicas are rounded differently; measured over 5 steps: 1.5e-8 of a gradient's norm. Adam without
    # momentum amplifies it with every step.
    assert set(two[0]) == set(one[0])
    for name, value in one[0].items():
        assert two[0][name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    for name in ("Loss/G/loss", "Loss/D/loss", "Progress/augment"):
        assert [row[name] for row in two] == pytest.approx([row[name] for row in one], rel=1e-3), name


@pytest.mark.slow
def test_a_lost_worker_ends_the_other_with_one_clear_line(interrupted):
    run, killed, _ = interrupted
    assert killed.statuses == [1, -signal.SIGKILL]
    (line,) = (line for line in killed.err[0].splitlines() if line.startswith("trainer.main: "))
    assert re.search(r"worker 1 \(127.0.0.1:\d+\): lost", line)
    assert "--resume=latest" in line and f"{run}/checkpoints/0" in line


@pytest.mark.slow
def test_started_again_they_go_on_to_the_same_end(interrupted, straight):
    """Bit for bit."""
    run, _, resumed = interrupted
    assert resumed.statuses == [0, 0], resumed.err
    assert all("Resuming from" in out for out in resumed.out)
    one, two = weights(straight[0]), weights(run)
    assert set(one) == set(two)
    assert [name for name in one if not np.array_equal(one[name], two[name])] == []
    assert statistics(run) == statistics(straight[0])


@pytest.mark.slow
def test_all_stop_together_when_one_is_asked_to(outdir, faces):
    arguments = {**COMMON, **QUICK, "kimg": 1000, "mirror": False, "strategy": "auto"}
    workers = begin(flags(outdir / "stopped", faces, **arguments))
    wait_for_a_checkpoint(workers, outdir / "stopped")
    workers[1].send_signal(signal.SIGTERM)  # not the chief
    ended = end(workers)
    assert ended.statuses == [130, 130], ended.err
    checkpoint = run_dir.checkpoints(only((outdir / "stopped").iterdir()))[-1]
    assert json.loads((checkpoint / "progress.json").read_text())["step"] % 4 == 0


@pytest.mark.slow  # two processes import TensorFlow
def test_workers_with_two_devices_each_agree_on_the_number_of_the_chief():
    """The sum over all devices would be twice that number."""
    ended = end(begin([], "tests.helpers.agreeing_worker"))
    said = "4 replicas\n7\n[False, True, True]\nlengths differ between the workers ([5, 6]): give all the same"
    assert ended.statuses == [0, 0], ended.err
    assert all(said in out for out in ended.out), ended.out


@pytest.mark.slow  # two processes import TensorFlow
def test_a_network_that_is_cut_is_waited_for_and_a_frozen_worker_is_named(tmp_path):
    """Without networks, whose step would take most of the time; `make soak` trains."""
    sums = PROGRAMS["sums"]
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Network()) if namespaces_are_permitted() else None
        command = sums.command(tmp_path, tmp_path, 4)
        command[-2] = "100000"  # steps
        both = stack.enter_context(worker_soak.workers(command, tmp_path, network))
        worker_soak.wait_for(sums.begun, both, tmp_path)
        if network:
            network.cut(1)
            time.sleep(1.5)
            stopped = sums.result(tmp_path)
            time.sleep(0.5)
            assert sums.result(tmp_path) == stopped
            network.mend(1)
            worker_soak.wait_for(lambda _: sums.result(tmp_path) != stopped, both, tmp_path)
        disturb(Trial("freeze", 1), both, network)
    if network is None:
        pytest.skip("network namespaces are not permitted here, so that the network was not cut")


def test_limits_of_time_and_communication_reach_tensorflow(monkeypatch):
    """NCCL cannot be tried without two GPUs; TensorFlow is asked for it."""
    made = {}
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    monkeypatch.setattr(distribution, "wait_for_workers", lambda *wait: made.update(wait=wait))
    monkeypatch.setattr(distribution, "configure_heartbeats", lambda *heartbeats: made.update(heartbeats=heartbeats))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda **options: made.update(options))
    distribution._several_workers("nccl", 7, 60.0, 20.0)
    assert made["wait"] == (["a:1", "b:1"], 1, 7)
    assert made["heartbeats"] == (2, 20.0)
    options = made["communication_options"]
    assert options.implementation == tf.distribute.experimental.CommunicationImplementation.NCCL
    assert options.timeout_seconds == 60.0
    distribution._several_workers("auto", 7, 0.0, 20.0)
    assert made["communication_options"].timeout_seconds is None


def test_the_strategy_leaves_the_handlers_of_signals(monkeypatch):
    """TensorFlow replaces that of SIGTERM, which the first process of a container needs to have one."""
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}})
    )
    monkeypatch.setattr(distribution, "wait_for_workers", lambda *_: None)
    monkeypatch.setattr(distribution, "configure_heartbeats", lambda *_: None)
    replace = functools.partial(signal.signal, signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda **_: replace())
    before = signal.signal(signal.SIGTERM, ours := lambda *_: None)
    try:
        distribution._several_workers("auto", 7, 0.0, 20.0)
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


def test_heartbeats_are_configured_as_the_strategy_would(monkeypatch):
    fresh = _tf_private.context.Context()
    monkeypatch.setattr(_tf_private.context, "context", lambda: fresh)
    _tf_private.configure_heartbeats(3, 12.5)
    config = fresh.coordination_service
    assert config.service_type == "standalone" and config.service_leader == "/job:worker/replica:0/task:0"
    assert config.heartbeat_timeout_in_ms == 12_500 and config.enable_health_check
    assert [(job.name, job.num_tasks) for job in config.coordinated_job_list] == [("worker", 3)]


@pytest.mark.parametrize(
    "config",
    [
        "{",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_malformed_cluster_is_refused(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(OptionError, match=re.escape(f"TF_CONFIG={config}: must be like ")):
        distribution.make_strategy("auto")


def test_workers_need_a_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "")
    with pytest.raises(OptionError, match="--strategy=multiworker: needs the environment variable TF_CONFIG"):
        distribution.make_strategy("multiworker")
