"""The routes.

    GET  /                                        the page
    POST /api/pictures                            a photograph, or an .lq file to view, as the request's body
    GET  /api/pictures/ID/shown?quality=Q         the picture at a quality
    GET  /api/pictures/ID/file?quality=Q          its .lq file
    GET  /api/pictures/ID/peers/CODEC?size=BYTES  another codec's file of about that size

An answer's body is its files one after the other; the header X-Leechcodec has the facts as JSON, and each file's length
and type under ``parts``. An error is {"error": "one line"}.
"""

import asyncio
import contextlib
import html
import json
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from leechcodec import __version__
from leechcodec.apps.serve import peers, work
from leechcodec.apps.serve.guard import Guard
from leechcodec.apps.serve.settings import Settings
from leechcodec.apps.serve.state import BusyError, Line, Picture, Pictures, SupersededError, UnknownPictureError
from leechcodec.errors import ConfigError, LqError, TooLargeError

ASSETS = Path(__file__).parent / "assets"
ASSET_TYPES = {".css": "text/css", ".js": "text/javascript"}
# An upload that is too slow is 400 as well: browsers send a request that is answered 408 once more.
STATUSES = {UnknownPictureError: 404, TooLargeError: 413, BusyError: 503, SupersededError: 409}
"""Of errors; of any other LqError 400."""
FACTS = "X-Leechcodec"
log = logging.getLogger(__name__)


class SlowUploadError(LqError):
    """An upload that does not end."""


class Service:
    """The endpoints, and what they share: the pictures, a line to the coder, a line to the other codecs."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._limits = settings, settings.limits
        self._pictures = Pictures(self._limits.pictures, self._limits.held_bytes)
        self._coder = Line(self._limits.codings, self._limits.waiting, "coder")
        self._comparer = Line(self._limits.codings, self._limits.waiting, "comparer")
        self._peers = peers.installed()
        self._assets = {path.name: path.read_bytes() for path in ASSETS.iterdir() if path.suffix in ASSET_TYPES}

    def routes(self) -> list[Route]:
        return [
            Route("/", self.page),
            Route("/assets/{name}", self.asset),
            Route("/api/pictures", self.upload, methods=["POST"]),
            Route("/api/pictures/{id}/shown", self.shown),
            Route("/api/pictures/{id}/file", self.file),
            Route("/api/pictures/{id}/peers/{codec}", self.peer),
        ]

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._coder.close()
        self._comparer.close()

    async def page(self, _: Request) -> Response:
        about = {
            "version": __version__,
            "bytes": self._limits.body,
            "pixels": self._limits.pixels,
            "peers": [[key, peer.name] for key, peer in self._peers.items()],
        }
        template = Template((ASSETS / "page.html").read_text(encoding="utf-8"))
        return HTMLResponse(template.substitute(settings=html.escape(json.dumps(about))))

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._assets:
            raise HTTPException(404)
        return Response(self._assets[name], media_type=ASSET_TYPES[Path(name).suffix])

    async def upload(self, request: Request) -> Response:
        try:
            with self._coder.place():
                data = await self._body(request)
                if work.is_lq(data):
                    return _respond(await self._code(work.view, data, self._settings.model, self._limits.pixels))
                image, answer = await self._code(work.read_photograph, data, self._limits.pixels)
        except BusyError:
            await self._body(request, keep=False)  # a connection closed on a sender would lose the refusal
            raise
        return _respond(answer, id=self._pictures.add(image).id)

    async def shown(self, request: Request) -> Response:
        picture, quality = self._picture(request), _number(request, "quality")
        async with _place(self._coder, request) as gone:
            picture.moves += 1
            arguments = picture.image, quality, self._settings.model, picture.still(gone)
            draft, answer = await self._code(work.show, *arguments)
        picture.draft = replace(draft, picture=None, below=None)  # what a file needs: its tokens, its layer
        return _respond(answer)

    async def file(self, request: Request) -> Response:
        picture, quality = self._picture(request), _number(request, "quality")
        async with _place(self._coder, request) as gone:
            arguments = picture.image, quality, picture.draft, self._settings.model, picture.still(gone)
            return _respond(await self._code(work.file_of, *arguments))

    async def peer(self, request: Request) -> Response:
        picture, size = self._picture(request), _number(request, "size")
        peer = self._peers.get(request.path_params["codec"])
        if peer is None:
            raise HTTPException(404)
        if not 1 <= size <= 1e9:
            raise ConfigError(f"size must be between 1 and 1,000,000,000 bytes, got {size:g}")
        async with _place(self._comparer, request) as gone:
            sizes = dict(picture.sizes.get(peer.key, {}))  # the worker's own
            arguments = picture.image, peer, round(size), sizes, picture.still(gone)
            answer = await self._comparer.run(peers.at_size, *arguments)
        picture.sizes[peer.key] = sizes
        return _respond(answer)

    def _picture(self, request: Request) -> Picture:
        return self._pictures.get(request.path_params["id"])

    async def _code(self, function, *arguments):
        """The result of a function in the coder's thread, with the threads that it may use."""

        def work_with_threads():
            if self._settings.threads is not None:
                from leechcodec.threads import set_threads

                set_threads(self._settings.threads)
            return function(*arguments)

        return await self._coder.run(work_with_threads)

    async def _body(self, request: Request, *, keep: bool = True) -> bytes:
        """The request's body, in memory. keep: false to read it and throw it away.

        Raises TooLargeError, for a body of up to twice the limit only once it has been read: a client that is still
        sending may not hear an earlier answer. Raises SlowUploadError.
        """
        limit, read, body = self._limits.body, 0, bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for part in request.stream():
                    read += len(part)
                    if read > 2 * limit:
                        break
                    if keep and read <= limit:
                        body += part
        except TimeoutError:
            raise SlowUploadError(f"the upload took longer than {self._limits.body_seconds:g} seconds") from None
        if read > limit:
            raise TooLargeError(f"the file is larger than {limit / 1e6:g} MB")
        return bytes(body)


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The ASGI application. Models are loaded by the first request that needs them, unless they are already."""
    settings = settings or Settings()
    service = Service(settings)

    async def foreseen(_: Request, error: Exception) -> Response:
        status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 400)
        headers = {"Retry-After": str(settings.limits.retry_seconds)} if status == 503 else None
        return JSONResponse({"error": " ".join(str(error).split())}, status, headers=headers)

    async def by_http(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)

    async def gone(_: Request, error: Exception) -> Response:
        return Response(status_code=400)  # to nobody

    async def unforeseen(request: Request, error: Exception) -> Response:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return JSONResponse({"error": "out of memory"}, 500)
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse({"error": "internal error; the server's terminal says more"}, 500)

    handlers: dict[Any, Any] = {LqError: foreseen, HTTPException: by_http, ClientDisconnect: gone}
    app = Starlette(
        routes=service.routes(),
        exception_handlers=handlers | {Exception: unforeseen},
        lifespan=service.lifespan,
    )
    return Guard(app, settings)  # around all of it: Starlette answers what is unforeseen outside its own middleware


@contextlib.asynccontextmanager
async def _place(line: Line, request: Request) -> AsyncIterator[threading.Event]:
    """A place in line, and an event that is set when the client of this request, which has no body, hangs up.

    Raises BusyError where all places are taken.
    """
    gone = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    with line.place():
        watching = asyncio.create_task(watch())
        try:
            yield gone
        finally:
            watching.cancel()


def _number(request: Request, name: str) -> float:
    """A number in the query. Raises ConfigError."""
    text = request.query_params.get(name, "")
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{name} must be a number, got {text[:20]!r}") from None


def _respond(answer: work.Answer, **facts) -> Response:
    parts = [[len(part.data), part.type] for part in answer.parts]
    headers = {FACTS: json.dumps(answer.facts | facts | {"parts": parts})}
    return Response(b"".join(part.data for part in answer.parts), media_type=work.LQ_TYPE, headers=headers)
