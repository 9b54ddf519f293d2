"""Host names and addresses of the internet protocol."""

import ipaddress


def without_brackets(host: str) -> str:
    """Return an IPv6 address without its brackets; other hosts unchanged."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def is_loopback(host: str) -> bool:
    """Return True if a name or address is reachable only from this machine.

    Examples:
        >>> is_loopback("[::1]"), is_loopback("127.0.0.2"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(without_brackets(host)).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
