"""Connections between nodes: only who knows the token is heard, and only messages are read."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from rtxbench.engines.nodes.links import Link, accepted, dialled
from rtxbench.engines.nodes.messages import HUB_MESSAGES, End, Register
from rtxbench.errors import UnavailableError


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def calling(server: socket.socket, call: Callable[[int], None]) -> threading.Thread:
    thread = threading.Thread(target=call, args=(server.getsockname()[1],))
    thread.start()
    return thread


def test_messages_cross_between_those_who_know_the_token(listening: socket.socket) -> None:
    """Both directions, whole messages, and the end of the stream when one side closes."""

    def call(port: int) -> None:
        link = Link(dialled("127.0.0.1", port, "the token"), HUB_MESSAGES)
        link.send(Register(rank=1, host="h", port=2))
        assert isinstance(link.receive(), End)
        link.close()

    caller = calling(listening, call)
    link = Link(accepted(listening.accept()[0], "the token"), HUB_MESSAGES)
    assert link.receive() == Register(rank=1, host="h", port=2)
    link.send(End())
    with pytest.raises((EOFError, OSError)):
        link.receive()
    caller.join()
    link.close()


def test_whoever_knows_another_token_is_turned_away(listening: socket.socket) -> None:
    """Both ends learn it before any message is read."""
    heard: list[str] = []

    def call(port: int) -> None:
        try:
            dialled("127.0.0.1", port, "another token")
        except (UnavailableError, OSError) as error:
            heard.append(str(error))

    caller = calling(listening, call)
    with pytest.raises(UnavailableError, match="another token"):
        accepted(listening.accept()[0], "the token")
    caller.join()
    assert len(heard) == 1


def test_what_is_no_message_ends_the_connection(listening: socket.socket) -> None:
    """A peer with the token that sends something else is an error, and nothing of it is unpickled."""

    def call(port: int) -> None:
        link = Link(dialled("127.0.0.1", port, "the token"), HUB_MESSAGES)
        link.connection.send(print)  # a pickle
        link.close()

    caller = calling(listening, call)
    link = Link(accepted(listening.accept()[0], "the token"), HUB_MESSAGES)
    with pytest.raises(OSError, match="broke the protocol"):
        link.receive()
    caller.join()
    link.close()
