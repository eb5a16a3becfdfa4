"""The server's process: the model loaded, the port bound, the address told, then requests until it is interrupted."""

import asyncio
import contextlib
import errno
import math
import os
import socket
from collections.abc import Callable

import uvicorn
from PIL import Image
from uvicorn.protocols.http.h11_impl import H11Protocol

from leechcodec.apps.serve.app import create_app
from leechcodec.apps.serve.settings import Settings
from leechcodec.codec import api
from leechcodec.errors import LqError

CONNECTIONS = 100
"""At a time; any more are answered 503 before they are read."""
HEAD_SECONDS = 10.0
"""Within which a connection must have sent a request's line and headers: those that wait take others' places."""
READ_SECONDS = 30.0
"""Within which a client must have taken more of an answer that waits for it."""
SHUTDOWN_SECONDS = 3


class AddressError(LqError):
    """An address or port that cannot be listened on."""


class _Protocol(H11Protocol):
    """A connection that ends where a request's head does not come, or its answer is not taken. (uvicorn waits for
    both without end.)"""

    _deadline: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()  # the next request of a connection that is kept
        else:
            self._forget_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_at_reader(math.inf)

    def resume_writing(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        super().resume_writing()

    def _expect_head(self) -> None:
        """From its first byte on, not from its last: else a byte now and then would hold the connection."""
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _look_at_reader(self, waiting: float) -> None:
        """End the connection where nothing was taken of so many bytes: closed, it would still wait for its reader."""
        left = self.transport.get_write_buffer_size()
        if left >= waiting:
            self.transport.abort()
        else:
            self._look = self.loop.call_later(READ_SECONDS, self._look_at_reader, left)


class _Server(uvicorn.Server):
    """A server on sockets that are bound already, which says when it listens, and on which port."""

    def __init__(self, config: uvicorn.Config, bound: list[socket.socket], listening: Callable[[int], None]) -> None:
        super().__init__(config)
        self._bound, self._listening = bound, listening

    async def startup(self, sockets=None) -> None:
        await super().startup(self._bound)
        self._listening(self._bound[0].getsockname()[1])

    async def shutdown(self, sockets=None) -> None:
        await super().shutdown(self._bound)


def make_server(settings: Settings, port: int, listening: Callable[[int], None]) -> uvicorn.Server:
    """A server for one process. port: 0 for any that is free. listening: told the port once it is listened on.

    Raises AddressError.
    """
    bound = bind(settings.host, port)
    config = uvicorn.Config(
        create_app(settings),
        loop="asyncio",
        http=_Protocol,
        ws="none",
        proxy_headers=False,  # nobody but the client itself says who it is
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="critical",  # its own messages; errors of ours are logged in app.py
        limit_concurrency=CONNECTIONS + 1,  # uvicorn counts the one that it refuses
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return _Server(config, bound, listening)


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address of a host that this machine has, all on one port. port: 0 for any that is free.

    Raises AddressError, in the system's words.
    """
    bound: list[socket.socket] = []
    missing: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, (name, _, *scope) in dict.fromkeys(found):
            try:
                bound.append(_listening(socket.socket(family, kind, protocol), (name, port, *scope)))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error  # localhost, say, is ::1 too where IPv6 is off
            else:
                port = bound[0].getsockname()[1]
        if missing is not None and not bound:
            raise missing
    except (OSError, UnicodeError) as error:  # UnicodeError: of what can be no name
        for sock in bound:
            sock.close()
        hint = "; try --port 0" if getattr(error, "errno", None) == errno.EADDRINUSE else ""
        reason = getattr(error, "strerror", None) or error
        raise AddressError(f"cannot listen on {host}, port {port}: {reason}{hint}") from None
    return bound


def _listening(sock: socket.socket, address: tuple) -> socket.socket:
    """The socket, listening as asyncio would have it; closed where it cannot. Raises OSError."""
    try:
        if os.name == "posix":  # elsewhere it would share a port with another server
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


def run(settings: Settings, port: int, listening: Callable[[int], None]) -> None:
    """Serve until interrupted.

    Raises AddressError, and ModelError where there is no model: before anything is served.
    """
    warm_up(settings.model)
    with contextlib.suppress(KeyboardInterrupt):
        make_server(settings, port, listening).run()


def warm_up(model: str | None) -> None:
    """Load the model and compile what the first picture would wait for."""
    api.decompress(api.compress(Image.new("RGB", (64, 64)), quality=100, model=model), model=model)
