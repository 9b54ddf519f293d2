"""A prediction from its arrival to its answer, shared by the gRPC and REST frontends."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from serving.server.admission import Admission, Caller
from serving.server.metrics import Metrics
from serving.server.model import ServedModel
from serving.server.model_manager import ModelManager, Version

#: Returns the signature name and the inputs of a request, given its model.
Parse = Callable[[ServedModel], tuple[str, dict[str, np.ndarray]]]
Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Models, admission and counters behind the frontends."""

    models: ModelManager
    admission: Admission
    metrics: Metrics

    def predict(
        self,
        name: str,
        version: Version,
        parse: Parse,
        write: Callable[[ServedModel, dict[str, np.ndarray]], Answer],
        caller: Caller,
    ) -> Answer:
        """Return the answer of a prediction.

        Args:
            name: name of the model.
            version: number or label of its version; None for the newest.
            parse: reads the request; called only after admission, because requests are large.
            write: builds the answer from the model and its outputs; a request is in flight until then.
            caller: the client.

        Raises:
            RequestError: the request cannot be answered.
        """
        with self.admission.enter():
            model = self.models.find(name, version)
            run = model.prepare(*parse(model))
            with self.admission.acquire_slot(caller):
                outputs = run()
            caller.check_connection()  # an answer that nobody reads is not built
            answer = write(model, outputs)
        self.metrics.observe_rows(max((len(value) for value in outputs.values() if value.ndim), default=1))
        return answer
