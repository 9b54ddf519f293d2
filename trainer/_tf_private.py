"""Private names of TensorFlow that training on several hosts needs, and nothing else."""

from __future__ import annotations

from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context


def configure_heartbeats(workers: int, timeout_s: float) -> None:
    """Set the seconds without a heartbeat after which a worker is considered lost; TensorFlow's default is 10.

    The other settings are those of MultiWorkerMirroredStrategy. Call this before creating the strategy.
    """
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        heartbeat_timeout_in_ms=round(1000 * timeout_s),
        coordinated_jobs=[coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=workers)],
    )
