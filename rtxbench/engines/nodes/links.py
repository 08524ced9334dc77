"""Authenticated connections between nodes: JSON messages, never a pickle, and a lost peer that is noticed.

Both ends prove that they know the run's token (HMAC, by `multiprocessing.connection`) before a message is read. The
system ends a connection whose peer has been out of reach for `PEER_LIMIT_S`.
"""

import socket
import struct
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any, Final

import msgspec

from rtxbench.errors import UnavailableError

__all__ = ["PEER_LIMIT_S", "Link", "accepted", "dialled"]

PEER_LIMIT_S: Final = 15
_KEEPALIVE_S: Final = 3
"""Between probes of an idle connection, of which three must go unanswered: it is gone before the limit."""
_CONNECT_LIMIT_S: Final = 5.0
_HANDSHAKE_LIMIT_S: Final = 10
_LONGEST_MESSAGE_BYTES: Final = 1 << 20
_NO_LIMIT: Final = struct.pack("ll", 0, 0)


class Link:
    """One connection that carries messages of msgspec structs.

    Args:
        descriptor: of a connected socket that is authenticated, or was inherited from whoever did that.
        messages: decodes what the peer sends.
    """

    def __init__(self, descriptor: int, messages: "msgspec.json.Decoder[Any]") -> None:
        self.connection = Connection(descriptor)
        self._messages = messages
        self._sending = threading.Lock()

    def send(self, message: msgspec.Struct) -> None:
        """Send one message.

        Raises:
            OSError: the peer is gone.
        """
        with self._sending:
            self.connection.send_bytes(msgspec.json.encode(message))

    def receive(self) -> Any:
        """Wait for the next message.

        Raises:
            EOFError: the peer has closed the connection.
            OSError: the connection broke, or what came is no message of rtxbench's.
        """
        content = self.connection.recv_bytes(_LONGEST_MESSAGE_BYTES)
        try:
            return self._messages.decode(content)
        except msgspec.MsgspecError as error:
            raise OSError(f"the peer broke the protocol: {error}") from error

    def close(self) -> None:
        """Close this end; the peer reads the end of the stream."""
        self.connection.close()


def dialled(host: str, port: int, token: str, limit_s: float = _CONNECT_LIMIT_S) -> int:
    """Connect to a listening node and prove the token, each to the other; return the socket's descriptor.

    Raises:
        UnavailableError: the peer knows another token.
        OSError: nobody answers there in time.
    """
    connected = socket.create_connection((host, port), timeout=limit_s)
    return _authenticated(connected, token, caller=True)


def accepted(caller: socket.socket, token: str) -> int:
    """Prove the token, each to the other, on a connection that was accepted; return its descriptor.

    Raises:
        UnavailableError: the caller knows another token.
        OSError: it went away, or said nothing in time.
    """
    return _authenticated(caller, token, caller=False)


def _authenticated(connected: socket.socket, token: str, *, caller: bool) -> int:
    connected.setblocking(True)
    _notice_a_lost_peer(connected)
    limit = struct.pack("ll", _HANDSHAKE_LIMIT_S, 0)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    key = token.encode()
    # A copy of the descriptor for the handshake: `Connection` closes its own when it is dropped.
    handshake = Connection(connected.dup().detach())
    try:
        steps = (answer_challenge, deliver_challenge)
        for step in steps if caller else reversed(steps):
            step(handshake, key)
    except (AuthenticationError, AssertionError, ValueError) as error:
        connected.close()
        raise UnavailableError(
            "the other node knows another token.", next_step="Set RTXBENCH_NODES_TOKEN to one value on every node."
        ) from error
    except (OSError, EOFError) as error:
        connected.close()
        raise OSError(f"the other node ended the handshake: {error or type(error).__name__}") from error
    finally:
        handshake.close()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _NO_LIMIT)
    return connected.detach()


def _notice_a_lost_peer(connected: socket.socket) -> None:
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_NODELAY": 1,
        "TCP_KEEPIDLE": _KEEPALIVE_S,
        "TCP_KEEPINTVL": _KEEPALIVE_S,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": PEER_LIMIT_S * 1000,
    }
    for name, value in options.items():
        if hasattr(socket, name):  # the last one is Linux's alone
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
