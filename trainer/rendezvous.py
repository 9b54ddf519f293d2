"""Waiting for the other workers of a run before TensorFlow does, with a time limit and with working signals.

TensorFlow waits in C++ code without a limit, holds Python's global lock, and ignores SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Sequence

from trainer.errors import OptionError

_PAUSE_S = 0.2
_CONNECT_S = 2.0


def wait_for_workers(addresses: Sequence[str], index: int, limit_s: float) -> None:
    """Return when every worker accepts connections.

    A worker listens on its own port until it has reached all others. Then TensorFlow listens there, so slower workers
    can reach it as well.

    Args:
        addresses: HOST:PORT of all workers.
        index: index of this worker.
        limit_s: seconds to wait.

    Raises:
        OptionError: an address is malformed, this worker's port is taken, or a worker was not reached in time; the
            message names it.
    """
    for address in addresses:
        _split(address)
    deadline = time.monotonic() + limit_s
    missing = [address for position, address in enumerate(addresses) if position != index]
    with _listen(addresses[index]) as listener:
        while missing := [address for address in missing if not _accepts(address)]:
            if time.monotonic() > deadline:
                raise OptionError(
                    f"TF_CONFIG: not reached in {limit_s:g} s: {', '.join(missing)}; start these workers, correct "
                    "their addresses, or wait longer with --start_timeout"
                )
            time.sleep(_PAUSE_S)
            with contextlib.suppress(BlockingIOError):  # close connections, to make room for others
                while True:
                    listener.accept()[0].close()


def _listen(address: str) -> socket.socket:
    dual = socket.has_dualstack_ipv6()  # for IPv4 as well
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        listener = socket.create_server(("", _split(address)[1]), family=family, backlog=128, dualstack_ipv6=dual)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise OptionError(f"TF_CONFIG: cannot listen on {address} ({reason}); give a free port") from error
    listener.setblocking(False)
    return listener


def _accepts(address: str) -> bool:
    try:
        socket.create_connection(_split(address), timeout=_CONNECT_S).close()
    except OSError:  # no such host yet, refused, or no answer
        return False
    return True


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not host or not 0 < int(port) < 2**16:
        raise OptionError(f"TF_CONFIG: {address} must be HOST:PORT, with a port from 1 to 65535")
    return host.strip("[]"), int(port)
