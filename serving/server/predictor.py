"""A prediction from its arrival to its answer, the same for both protocols."""

import dataclasses
from collections.abc import Callable

import numpy as np

from serving.server.admission import Admission, Caller
from serving.server.metrics import Metrics
from serving.server.model import ServedModel
from serving.server.model_manager import ModelManager

#: Signature name and inputs of a request, once its model is known.
Parse = Callable[[ServedModel], tuple[str, dict[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class Predictor:
    """What answers predictions: models, places and counters."""

    catalog: ModelManager
    admission: Admission
    metrics: Metrics

    def predict(
        self, api: str, name: str, version: int | None, parse: Parse, caller: Caller
    ) -> tuple[ServedModel, dict[str, np.ndarray]]:
        """The model that answered and its outputs.

        Args:
          api: grpc or rest, for the counters.
          name: the model asked for.
          version: its version; None is the newest.
          parse: reads the request; called only once there is a place for it, since requests are large.
          caller: who waits.

        Raises:
          RequestError: whatever is wrong with it.
        """
        with self.metrics.prediction(api), self.admission.enter():
            model = self.catalog.find(name, version)
            signature, inputs = parse(model)
            with self.admission.turn(caller):
                outputs = model.run(signature, inputs)
        self.metrics.answered(max((len(value) for value in outputs.values() if value.ndim), default=1))
        return model, outputs
