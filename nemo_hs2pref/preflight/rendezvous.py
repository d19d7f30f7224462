"""Where the processes of a run meet: MASTER_ADDR has an address, MASTER_PORT is free there, every node reaches it."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from nemo_hs2pref.preflight.check import Finding, failed, ok, skipped, warning
from nemo_hs2pref.preflight.node import Node
from nemo_hs2pref.preflight.waiting import wait_until

GREETING = b"hs2pref "
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRY_S = 3.0
FIREWALL = (
    "a firewall or another network between the nodes? set NCCL_SOCKET_IFNAME and MASTER_ADDR, ask the administrators"
)


def look_at_rendezvous(node: Node, environ: Mapping[str, str], wait_s: float) -> Iterator[Finding]:
    """The first node listens until all others have come."""
    if "MASTER_ADDR" not in environ or "MASTER_PORT" not in environ:
        yield skipped("MASTER_ADDR and MASTER_PORT are not set; a job sets them")
        return
    host, port = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        yield failed(
            f"MASTER_ADDR={host} has no address ({error})", "give the first node's IP address: MASTER_ADDR=..."
        )
        return
    low, high = (int(number) for number in PORT_RANGE.read_text().split())
    if low <= port <= high:
        hint = "choose one below, and not one that a service has"
        yield warning(f"MASTER_PORT={port} is among those that the kernel hands out ({low} to {high})", hint)
    if node.is_first:
        yield listen(node, host, port, wait_s)
    elif wait_until(lambda: greet(host, port, node.index), wait_s):
        yield ok(f"{host} ({address}) port {port} is reached from {node.name}")
    else:
        yield failed(f"{host} ({address}) port {port} is not reached from {node.name} in {wait_s:g} s", FIREWALL)


def listen(node: Node, host: str, port: int, wait_s: float) -> Finding:
    try:
        server = socket.create_server(("", port))
    except OSError as error:
        hint = "another job or a process left over has it: set MASTER_PORT, or end that process"
        return failed(f"port {port} of {node.name} is not free ({error.strerror})", hint)
    come: set[int] = set()
    threading.Thread(target=welcome, args=(server, come), daemon=True).start()
    try:
        if not wait_until(lambda: greet(host, port, 0), TRY_S):
            return failed(f"MASTER_ADDR={host} does not lead to {node.name}", "give the first node's name or address")
        if not wait_until(lambda: len(come) == node.count, wait_s):
            silent = ", ".join(str(index) for index in range(node.count) if index not in come)
            return failed(f"the nodes numbered {silent} (the first is 0) did not come to {host}:{port}", FIREWALL)
    finally:
        server.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept, which close does not
        server.close()
    return ok(f"{host} port {port} is free" + (f", all {node.count} nodes reach it" if node.count > 1 else ""))


def welcome(server: socket.socket, come: set[int]) -> None:
    """Note who has come and gone, until the server is shut down."""
    with suppress(OSError):
        while True:
            guest, _ = server.accept()
            index = visit(guest)
            if index is not None:
                come.add(index)


def visit(guest: socket.socket) -> int | None:
    """The guest's number, once it has our greeting and hung up: who hangs up first keeps its port for a minute."""
    with guest, suppress(OSError, ValueError):
        guest.settimeout(TRY_S)
        said = guest.recv(64)
        if said.startswith(GREETING):
            guest.sendall(GREETING)
            if guest.recv(1) == b"":
                return int(said[len(GREETING) :])
    return None


def greet(host: str, port: int, index: int) -> bool:
    """Whether who listens there is the first node's preflight."""
    try:
        with socket.create_connection((host, port), timeout=TRY_S) as line:
            line.sendall(GREETING + str(index).encode())
            return line.recv(64) == GREETING
    except OSError:
        return False
