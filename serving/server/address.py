"""Addresses to listen on: IPv4, IPv6 with or without brackets, and host names."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from sg3tf.utils.hosts import without_brackets


def join(host: str, port: int) -> str:
    """Return HOST:PORT, with the brackets that an IPv6 address needs.

    Examples:
        >>> join("::1", 8500), join("[::1]", 8500), join("127.0.0.1", 8500)
        ('[::1]:8500', '[::1]:8500', '127.0.0.1:8500')
    """
    host = without_brackets(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(host: str) -> bool:
    """Return True if HOST or HOST:PORT is an IP address, localhost or under localhost, and so no other site's name.

    Examples:
        >>> is_local("127.0.0.1:8501"), is_local("[::1]:8501"), is_local("sg3.localhost"), is_local("example.com:8501")
        (True, True, True, False)
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def listen(host: str, port: int, flag: str) -> socket.socket:
    """Return a listening socket; `::` includes IPv4.

    Args:
        host: address or name.
        port: number; 0 for any free one.
        flag: the port's flag, for the error.

    Raises:
        OSError: the address is in use, is not an address, or is not one of this machine.
    """
    try:
        found = socket.getaddrinfo(without_brackets(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = next((entry for entry in found if entry[0] == socket.AF_INET), found[0])
        both = family == socket.AF_INET6 and ipaddress.ip_address(address[0]).is_unspecified
        return socket.create_server(address, family=family, backlog=128, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        reason = reason.partition(" (while")[0]  # remove the address that create_server adds
        raise OSError(f"--host={host} --{flag}={port}: {reason}; give another port or address") from error
