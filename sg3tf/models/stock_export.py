"""Exports of Keras models that need no native operations where they are loaded."""

from __future__ import annotations

from typing import Any

import keras

from sg3tf.ops.backend import use_backend


class StockExportModel(keras.Model):
    """Base of models whose `export` writes stock operations only."""

    def input_signature(self) -> Any:
        """Return the specification of the first argument of `call`."""
        raise NotImplementedError

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export as keras.Model does, with stock operations only; `sg3tf export` adds signatures and checks them.

        Export a model that contains this one within `sg3tf.ops.use_backend("matmul")`; otherwise, nothing without sg3tf
        can load it.

        Args:
            filepath, format, verbose, input_signature, **kwargs: as in keras.Model.export; `input_signature` defaults
                to the inputs of `call`.
        """
        with use_backend("matmul"):
            super().export(filepath, format, verbose, input_signature or [self.input_signature()], **kwargs)
