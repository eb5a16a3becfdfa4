"""serve: the page on this machine."""

import contextlib
import os
import secrets
import sys

import click

from leechcodec.apps.cli.group import note
from leechcodec.apps.cli.streams import runtime_options, warnings_told

PORT = 8642
LOOPBACK = "127.0.0.1"
ANY_ADDRESS = {"0.0.0.0": LOOPBACK, "::": "[::1]"}
"""What stands for every address of a kind, and where this machine itself reaches it."""


@click.command()
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 is any free one.")
@click.option("--open", "launch", is_flag=True, help="Open the page in the browser.")
@click.option("--model", help="Model name or folder.  [default: leech-open]")
@click.option("--threads", type=click.IntRange(1), help="Threads to compute with.  [default: all cores]")
@runtime_options
def serve(host: str, port: int, launch: bool, model: str | None, threads: int | None) -> None:
    """Open a page on this machine: drop a photograph, move the dial, compare.

    It shows size, bits per pixel and PSNR, and the picture beside JPEG, WebP and AVIF of the same size; or what an
    .lq file holds. Nothing leaves the machine and nothing is written to disk. Only this machine can reach the page,
    unless --host names an address that others can: then the printed address has a token, and whoever knows it may use
    the server. Ends with Ctrl-C.

    \b
    leechcodec serve                     http://127.0.0.1:8642/
    leechcodec serve --open --port 0     any free port, in the browser
    leechcodec serve --host 0.0.0.0      for a phone in the same network, with a token
    """
    from leechcodec.formats.packages import require

    for module in ("starlette", "uvicorn"):
        require(module, "serve")
    from leechcodec.apps.serve import server
    from leechcodec.apps.serve.settings import Settings, is_loopback

    token = None if is_loopback(host) else secrets.token_urlsafe(32)

    def listening(port: int) -> None:
        name = ANY_ADDRESS.get(host) or (f"[{host}]" if ":" in host else host)
        url = f"http://{name}:{port}/" + (f"?token={token}" if token else "")
        click.echo(url)
        if token:
            note(
                "whoever can reach this machine and knows the token may use the server; the connection is not encrypted"
            )
            if host in ANY_ADDRESS:
                note(f"from another machine, put this one's address in place of {name}")
        if launch:
            click.launch(url)

    with warnings_told():
        server.run(Settings(model=model, threads=threads, host=host, token=token), port, listening)
    _leave()


def _leave() -> None:
    """End the process where a picture is still being computed: Python would wait for it, and it is for nobody.

    Nothing is lost, as a server writes nothing to disk.
    """
    from leechcodec.apps.serve.state import workers_left

    if not workers_left():
        return
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or never there
            stream.flush()
    os._exit(0)
