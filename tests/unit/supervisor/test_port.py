"""The reserved port, which the API processes share and no other program gets."""

import socket

import pytest

from jobworkerd.config import listen_address
from jobworkerd.supervisor.port import PortTaken, reserve, take_over


def listener(address: str) -> socket.socket:
    """Return a socket that listens on the same port as the reserved socket, like an API process."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(listen_address(address))
    sock.listen()
    return sock


def test_port_0_becomes_a_number() -> None:
    port = reserve("127.0.0.1:0")
    reserved, address = port.sock, port.address
    with reserved:
        assert address == f"127.0.0.1:{reserved.getsockname()[1]}"
        assert not address.endswith(":0")


def test_the_reserved_port_can_be_shared_and_accepts_no_connections() -> None:
    port = reserve("127.0.0.1:0")
    reserved, address = port.sock, port.address
    with reserved:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(listen_address(address), timeout=10)
        for _ in range(2):  # an API process, and the one that comes after it
            with listener(address) as sock:
                with socket.create_connection(listen_address(address), timeout=10) as client:
                    accepted, peer = sock.accept()
                    accepted.close()
                assert peer[1] != 0
                assert client.fileno() == -1


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(PortTaken, match=f"cannot listen on {listen}: Address already in use"):
            reserve(listen)


def test_a_port_of_another_server_of_the_same_user() -> None:
    port = reserve("127.0.0.1:0")
    reserved, address = port.sock, port.address
    with reserved, listener(address), pytest.raises(PortTaken):
        reserve(address)


def test_a_port_that_another_server_has_reserved() -> None:
    port = reserve("127.0.0.1:0")
    reserved, address = port.sock, port.address
    with reserved, pytest.raises(PortTaken):
        reserve(address)


def test_a_released_port_can_be_reserved_again() -> None:
    port = reserve("127.0.0.1:0")
    reserved, address = port.sock, port.address
    reserved.close()
    again = reserve(address)
    with again.sock:
        assert again.address == address


def test_the_next_supervisor_keeps_the_port_of_the_same_setting() -> None:
    earlier = reserve("127.0.0.1:0")
    assert take_over(earlier, "127.0.0.1:0", None) is earlier
    changed = take_over(earlier, "localhost:0", None)
    with changed.sock:
        assert earlier.sock.fileno() == -1
        assert changed.address.startswith("localhost:")


def test_an_address_of_another_host() -> None:
    # RFC 5737: 192.0.2.0/24 belongs to no host.
    with pytest.raises(PortTaken, match=r"cannot listen on 192\.0\.2\.1:0: "):
        reserve("192.0.2.1:0")


@pytest.mark.parametrize(
    ("listen", "address"),
    [("0.0.0.0:50051", ("0.0.0.0", 50051)), ("[::1]:0", ("::1", 0)), ("localhost:1", ("localhost", 1))],
)
def test_the_parts_of_a_listen_address(listen: str, address: tuple[str, int]) -> None:
    assert listen_address(listen) == address
