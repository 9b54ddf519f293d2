"""A prediction from its arrival to its answer, shared by the gRPC and REST frontends."""

import dataclasses
from collections.abc import Callable

import numpy as np

from serving.server.admission import Admission, Caller
from serving.server.metrics import Metrics
from serving.server.model import ServedModel
from serving.server.model_manager import ModelManager, Version

#: Returns the signature name and the inputs of a request, given its model.
Parse = Callable[[ServedModel], tuple[str, dict[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Models, admission and counters behind the frontends."""

    models: ModelManager
    admission: Admission
    metrics: Metrics

    def predict(
        self, api: str, name: str, version: Version, parse: Parse, caller: Caller
    ) -> tuple[ServedModel, dict[str, np.ndarray]]:
        """Return the model that answered and its outputs.

        Args:
            api: "grpc" or "rest", for the counters.
            name: name of the model.
            version: number or label of its version; None for the newest.
            parse: reads the request; called only after admission, because requests are large.
            caller: the client.

        Raises:
            RequestError: the request cannot be answered.
        """
        with self.metrics.prediction(api), self.admission.enter():
            model = self.models.find(name, version)
            signature, inputs = parse(model)
            with self.admission.acquire_slot(caller):
                outputs = model.run(signature, inputs)
        self.metrics.observe_rows(max((len(value) for value in outputs.values() if value.ndim), default=1))
        return model, outputs
