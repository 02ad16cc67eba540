"""Fixtures of the protocol tests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from unittest.mock import AsyncMock

import pytest

from jobworkerd.protocol import messages
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.server import ApiConnection, ServerParts
from tests.unit.protocol.socket_pair import Pair, Table


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    table, events, faults = Table(), list[str](), list[tuple[str, BaseException]]()
    connection = ApiConnection(
        table,
        table.inputs,
        ServerParts(
            lambda known: messages.Certificates((1, 2, 3), b"" if known == (1, 2, 3) else b"ca"),
            table.metrics,
            AsyncMock(),
            AsyncMock(),
        ),
        on_ready=lambda: events.append("ready"),
        on_fault=lambda *fault: faults.append(fault),
    )
    await asyncio.get_running_loop().create_connection(lambda: connection, sock=theirs)
    connected = await SupervisorClient.connect(
        ours, lambda: events.append("drain"), events.append, lambda: b"snapshot"
    )
    send, sent = connection._send, list[messages.ToApi]()

    def record(message: messages.ToApi) -> None:
        sent.append(message)
        send(message)

    monkeypatch.setattr(connection, "_send", record)
    monkeypatch.setattr(connection._change_sender, "_send", record)
    monkeypatch.setattr(connection._metrics, "_send", record)
    yield Pair(connected, connection, table, events, faults, sent)
    table.held.set()
    connection.close()
    await connected.wait_closed()
