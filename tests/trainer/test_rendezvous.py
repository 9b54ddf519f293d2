"""Workers wait for each other: with a limit, the missing ones named, and signals heard. No TensorFlow."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.addresses import free_addresses
from trainer.errors import OptionError
from trainer.rendezvous import wait_for_workers

ROOT = Path(__file__).parents[2]


def test_all_return_once_the_last_has_come():
    """Those who have met go on to listen for TensorFlow, at once, at the same port."""
    addresses, returned, servers = free_addresses(4), [], []

    def run(index):
        wait_for_workers(addresses, index, 30)
        returned.append(time.monotonic())
        servers.append(socket.create_server(("", int(addresses[index].rpartition(":")[2]))))

    threads = [threading.Thread(target=run, args=[index]) for index in range(4)]
    for thread in threads[:3]:
        thread.start()
    time.sleep(0.7)
    assert not returned
    last = time.monotonic()
    threads[3].start()
    for thread in threads:
        thread.join(30)
    assert len(returned) == len(servers) == 4 and min(returned) > last
    for server in servers:
        server.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_addresses_may_be_of_ipv6_or_ipv4():
    first, second = (address.rpartition(":")[2] for address in free_addresses(2))
    addresses, servers = [f"[::1]:{first}", f"127.0.0.1:{second}"], []

    def run(index):
        wait_for_workers(addresses, index, 10)
        host, port = [("::1", first), ("127.0.0.1", second)][index]
        servers.append(socket.create_server((host, int(port)), family=socket.AF_INET if index else socket.AF_INET6))

    threads = [threading.Thread(target=run, args=[index]) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(servers) == 2
    for server in servers:
        server.close()


def test_missing_workers_are_named():
    addresses, start = [*free_addresses(2), "no-such-host.invalid:12345"], time.monotonic()
    with (
        socket.create_server(("127.0.0.1", int(addresses[1].rpartition(":")[2]))),
        pytest.raises(OptionError, match=r"TF_CONFIG: not reached in 0.3 s: no-such-host.invalid:12345; start these"),
    ):
        wait_for_workers(addresses, 0, 0.3)
    assert time.monotonic() - start < 8  # looking for the host may take its time


def test_a_taken_port_and_an_address_without_one():
    (address,) = free_addresses(1)
    with (
        socket.create_server(("", int(address.rpartition(":")[2]))),
        pytest.raises(OptionError, match=rf"TF_CONFIG: cannot listen on {address} \(Address already in use\)"),
    ):
        wait_for_workers([address, "127.0.0.1:1"], 0, 0.3)
    for wrong in ("host", "host:0", "host:123456", "host:", ":1"):
        with pytest.raises(OptionError, match=f"TF_CONFIG: {wrong} must be HOST:PORT"):
            wait_for_workers([wrong, address], 0, 0.3)
        with pytest.raises(OptionError, match=f"TF_CONFIG: {wrong} must be HOST:PORT"):
            wait_for_workers([address, wrong], 0, 0.3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_heard_while_waiting(number):
    # A shell lets its background jobs ignore SIGINT, and so would this process.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from trainer.rendezvous import wait_for_workers; print(flush=True); wait_for_workers({}, 0, 60)"
    command = [sys.executable, "-c", code.format(free_addresses(2))]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(10) == -number
