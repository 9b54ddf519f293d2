"""Addresses of this machine for tests."""

from __future__ import annotations

import contextlib
import socket


def free_addresses(count: int) -> list[str]:
    """HOST:PORT of ports that nothing listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
