"""The server's process: the model loaded, the port bound, the address told, then requests until it is interrupted."""

import contextlib
from collections.abc import Callable

import uvicorn
from PIL import Image

from leechcodec.apps.serve.app import create_app
from leechcodec.apps.serve.settings import Settings
from leechcodec.codec import api
from leechcodec.errors import LqError

CONNECTIONS = 100
"""At a time; any more are answered 503 before they are read."""
SHUTDOWN_SECONDS = 3


class AddressError(LqError):
    """An address or port that cannot be listened on."""


class _Server(uvicorn.Server):
    """A server that says when it listens, and on which port."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[int], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        self._listening(self.servers[0].sockets[0].getsockname()[1])


def make_server(settings: Settings, port: int, listening: Callable[[int], None]) -> uvicorn.Server:
    """A server for one process. port: 0 for any that is free. listening: told the port once it is bound."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=port,
        loop="asyncio",
        http="h11",
        ws="none",
        proxy_headers=False,  # nobody but the client itself says who it is
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="critical",  # its own messages; errors of ours are logged in app.py
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return _Server(config, listening)


def run(settings: Settings, port: int, listening: Callable[[int], None]) -> None:
    """Serve until interrupted.

    Raises AddressError, and ModelError where there is no model: before anything is served.
    """
    warm_up(settings.model)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            make_server(settings, port, listening).run()
        except SystemExit:  # uvicorn's answer to a port that cannot be bound
            message = f"cannot listen on {settings.host}, port {port}: in use, or not this machine's; try --port 0"
            raise AddressError(message) from None


def warm_up(model: str | None) -> None:
    """Load the model and compile what the first picture would wait for."""
    api.decompress(api.compress(Image.new("RGB", (64, 64)), quality=100, model=model), model=model)
