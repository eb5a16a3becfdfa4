"""Before any route: is this request meant for this server, and by whom?

Host     a name that points here by an attacker's DNS is refused: what listens on loopback is no site's backend
token    where the server listens beyond loopback: in the printed address, from then on in a cookie
Origin   pages of other sites can send requests here; browsers say so in Origin and Sec-Fetch-Site

Every answer carries headers that keep the page from fetching, framing or leaking anything.
"""

import secrets

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leechcodec.apps.serve.settings import Settings

COOKIE = "leechcodec"
"""Of a cookie's name, the beginning."""
PAGE = "/"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware that refuses foreign requests and adds the headers."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cookie = cookie_name(Headers(scope=scope).get("host", ""))
        new_client = self._matches(QueryParams(scope["query_string"]).get("token"))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if new_client:
                    headers.append("Set-Cookie", f"{cookie}={self._settings.token}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        refusal = self._refusal(scope, new_client)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            status, reason = refusal
            await JSONResponse({"error": reason}, status)(scope, receive, send_with_headers)

    def _matches(self, token: str | None) -> bool:
        """Whether a token is asked for and this is it, in constant time."""
        known = self._settings.token
        return known is not None and token is not None and secrets.compare_digest(token.encode(), known.encode())

    def _refusal(self, scope: Scope, new_client: bool) -> tuple[int, str] | None:
        """Status and reason, None for a request that may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._settings.answers_to(host_name(host)):
            return 403, "this server does not answer to that name; open the printed address"
        open_to_all = self._settings.token is None
        if not (open_to_all or new_client or self._matches(HTTPConnection(scope).cookies.get(cookie_name(host)))):
            return 401, "the token is missing or wrong; open the printed address"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            return 403, "requests from other sites are refused"
        if site not in (None, "same-origin", "none") and scope["path"] != PAGE:  # the page itself may be linked to
            return 403, "requests from other sites are refused"
        return None


def host_name(host: str) -> str:
    """A Host header's name or address, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def cookie_name(host: str) -> str:
    """Of the token's cookie, by the Host header: browsers send a host's cookies to every port of it."""
    port = host.rpartition("]")[2].partition(":")[2]
    return f"{COOKIE}-{port if port.isascii() and port.isdecimal() else 80}"
