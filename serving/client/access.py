"""How a server is reached: plain or TLS, with or without an API key."""

import ssl
from pathlib import Path

import grpc

_OPTIONS = [
    # gRPC's default limit of 4 MiB is less than two images of 1024 pixels.
    ("grpc.max_receive_message_length", -1),
    # After a refused connection gRPC would not try again for a second, and repeated requests would fail unsent.
    ("grpc.initial_reconnect_backoff_ms", 100),
]


def open_channel(server: str, ssl_ca_file: str | None) -> grpc.Channel:
    """A channel to HOST:PORT: TLS where `ssl_ca_file`, PEM, has the certificates to trust, else plain text.

    Raises:
      OSError: the file cannot be read.
      ValueError: it has no certificates.
    """
    if ssl_ca_file is None:
        return grpc.insecure_channel(server, _OPTIONS)
    text = Path(ssl_ca_file).read_bytes()
    try:
        ssl.create_default_context(cadata=text.decode())
    except (ssl.SSLError, ValueError) as error:  # gRPC itself would only say that it cannot connect
        raise ValueError(f"ssl_ca_file={ssl_ca_file} has no certificate in PEM form ({error})") from error
    return grpc.secure_channel(server, grpc.ssl_channel_credentials(text), _OPTIONS)


def key_metadata(api_key_file: str | None) -> list[tuple[str, str]]:
    """What is sent along with each request: the key that the file has, as `x-api-key`.

    Raises:
      OSError: the file cannot be read.
      ValueError: it has no key, or one that cannot be sent.
    """
    if api_key_file is None:
        return []
    key = Path(api_key_file).read_text(encoding="utf-8", errors="replace").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"api_key_file={api_key_file} must hold one line of printable ASCII: the key")
    return [("x-api-key", key)]
