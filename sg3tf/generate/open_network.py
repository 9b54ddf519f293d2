"""Open a network of any kind by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sg3tf.generate.network import Network
from sg3tf.generate.remote_network import SCHEME, RemoteNetwork
from sg3tf.models import hub
from sg3tf.utils.label_scale import LabelScale, labels_of_width

_MODEL_FILE = "saved_model.pb"


def open_network(text: str | os.PathLike[str], batch: int | None = None, **connection: Any) -> Network:
    """Open the network that `text` names.

    Args:
        text: a .keras file, checkpoint folder or run folder; a SavedModel folder, or the folder of its versions, for
            the newest one; an address for sg3tf.load, such as hf://USER/NAME; or grpc://HOST:PORT/MODEL, a model on a
            server.
        batch: number of images at a time; None for 8, or fewer if memory is short.
        connection: `timeout_s`, `ssl_ca_file` and `api_key_file` of sg3tf.remote.Client, for a server.

    Raises:
        OSError: the network does not exist, or the server does not answer.
        ValueError: it is not a network.
    """
    text = os.fspath(text)
    if text.startswith(SCHEME):
        return RemoteNetwork(text, batch, **connection)
    if connection:
        raise ValueError(f"network={text}: {', '.join(connection)} are for grpc://HOST:PORT/MODEL; leave them out")
    path = hub.fetch(text) if hub.is_address(text) else Path(text)
    # TensorFlow is imported only for networks that need it.
    if folder := saved_model_folder(path):
        from sg3tf.generate.saved_model_network import SavedModelNetwork, exported_classes, exported_label_scale

        network: Network = SavedModelNetwork(folder, text, batch)
        network.source = text if folder == path else str(folder)
        return _with_labels(network, exported_classes(folder), exported_label_scale(folder))
    from sg3tf.generate.keras_network import KerasNetwork
    from sg3tf.models.loading import class_names, label_scale, load, resolve_network

    file = Path(resolve_network(str(path))) if path.is_dir() else path  # the run may still be training
    network = KerasNetwork(load(file), text, batch)
    network.source = text if file == path or hub.is_address(text) else str(file)
    return _with_labels(network, class_names(file), label_scale(file))


def _with_labels(network: Network, classes: tuple[str, ...], scale: LabelScale | None) -> Network:
    network.classes, network.label_scale = labels_of_width(network.label_dim, classes, scale)
    return network


def saved_model_folder(path: Path) -> Path | None:
    """Return the SavedModel folder at `path`, or its newest version there; None if there is none."""
    versions = [entry for entry in path.glob("*") if entry.name.isdecimal()]
    newest_first = sorted(versions, key=lambda entry: int(entry.name), reverse=True)
    return next((folder for folder in (path, *newest_first) if (folder / _MODEL_FILE).is_file()), None)
