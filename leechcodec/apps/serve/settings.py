"""What the server bounds, and whom it answers."""

from dataclasses import dataclass, field
from ipaddress import ip_address

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Limits:
    """Bounds on what the server does at a time and holds in memory.

    body: bytes of an uploaded file. body_seconds: how long an upload may take. pixels: of a picture. codings: at a
    time; comparisons with other codecs have as many workers of their own. waiting: requests in line behind them; any
    more are refused. retry_seconds: when a refused client is told to come back. pictures, held_bytes: uploaded pictures
    kept, and what they may take together, nine bytes a pixel; the longest unused go first.
    """

    body: int = 50_000_000
    body_seconds: float = 60.0
    pixels: int = 25_000_000
    codings: int = 1
    waiting: int = 8
    retry_seconds: int = 2
    pictures: int = 8
    held_bytes: int = 400_000_000


@dataclass(frozen=True)
class Settings:
    """A server. model: name or folder, None for the default. threads: of one coding, None for all cores.

    host: what it listens on. token: what a client must know, None to ask for nothing, which is for loopback alone.
    """

    model: str | None = None
    threads: int | None = None
    host: str = LOOPBACK
    token: str | None = None
    limits: Limits = field(default_factory=Limits)

    def answers_to(self, name: str) -> bool:
        """Whether a request's Host names this server.

        A name that an attacker's DNS has pointed here is none of: localhost, the host listened on, an address.
        Addresses other than loopback count only where a token is asked for.
        """
        name = name.lower()
        if name in ("localhost", self.host.lower()):
            return True
        return is_address(name) and (self.token is not None or is_loopback(name))


def is_address(host: str) -> bool:
    """Whether a host is an IP address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: localhost, 127.0.0.0/8, ::1."""
    return host.lower() == "localhost" or (is_address(host) and ip_address(host).is_loopback)
