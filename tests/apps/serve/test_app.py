import contextlib
import http.client
import io
import json
import math
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("starlette", reason="the server needs starlette: pip install 'leechcodec[serve]'")
pytest.importorskip("uvicorn", reason="the server needs uvicorn: pip install 'leechcodec[serve]'")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

from leechcodec.apps.cli import main, serving
from leechcodec.apps.serve import peers, server, work
from leechcodec.apps.serve.app import ASSETS, create_app
from leechcodec.apps.serve.guard import HEADERS
from leechcodec.apps.serve.settings import Limits, Settings
from leechcodec.apps.serve.state import Picture, Pictures, SupersededError
from leechcodec.codec import api
from leechcodec.errors import ConfigError
from leechcodec.lab.metrics import psnr
from leechcodec.networks import onnx_walk

pytestmark = pytest.mark.slow

HERE = "http://127.0.0.1:8642"
PEERS = sorted(peers.installed())


def photograph(width=96, height=80, mode="RGB"):
    """A smooth picture with some noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 2, columns * 2, rows + columns], axis=2) + rng.integers(0, 20, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def file_of(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def unpack(response):
    """(facts, files) of an answer."""
    assert response.status_code == 200, response.text
    facts, files, start = json.loads(response.headers["X-Leechcodec"]), [], 0
    for length, _ in facts["parts"]:
        files.append(response.content[start : start + length])
        start += length
    assert start == len(response.content)
    return facts, files


def picture_in(data):
    return Image.open(io.BytesIO(data))


def same(a, b):
    return a.size == b.size and a.mode == b.mode and np.array_equal(a, b)


@pytest.fixture
def settings(tiny_folder):
    return Settings(model=str(tiny_folder), threads=1)


@pytest.fixture
def client(settings):
    with TestClient(create_app(settings), base_url=HERE) as client:
        yield client


@pytest.fixture
def id(client):
    """Of an uploaded picture."""
    return unpack(client.post("/api/pictures", content=file_of(photograph())))[0]["id"]


def test_what_is_shown_is_what_the_file_decodes_to(client, id, tiny_folder):
    facts, (shown,) = unpack(client.get(f"/api/pictures/{id}/shown?quality=70"))
    about, (data,) = unpack(client.get(f"/api/pictures/{id}/file?quality=70"))
    assert data == api.compress(photograph(), quality=70, model=tiny_folder)
    decoded = api.decompress(data, model=tiny_folder)
    assert same(picture_in(shown), decoded)
    assert facts["quality"] == about["quality"] == 70
    assert facts["psnr"] == pytest.approx(psnr(np.asarray(photograph()), np.asarray(decoded)), abs=1e-3)
    assert about["bytes"] == len(data) and about["bpp"] == pytest.approx(8 * len(data) / (96 * 80), abs=1e-5)
    other, (data,) = unpack(client.get(f"/api/pictures/{id}/file?quality=20"))  # not what was shown last
    assert other["quality"] == 20 and data == api.compress(photograph(), quality=20, model=tiny_folder)


def test_of_what_was_shown_no_picture_is_held(client, id, monkeypatch):
    made, file = [], work.file_of
    monkeypatch.setattr(work, "file_of", lambda image, quality, draft, *others: made.append(draft) or
                        file(image, quality, draft, *others))  # fmt: skip
    client.get(f"/api/pictures/{id}/shown?quality=95")
    client.get(f"/api/pictures/{id}/file?quality=95")
    assert made[0].quality == 95 and made[0].layers and made[0].picture is made[0].below is None


@pytest.mark.parametrize("key", PEERS)
def test_a_peer_at_equal_size(client, id, key):
    facts, (data,) = unpack(client.get(f"/api/pictures/{id}/peers/{key}?size=1500"))
    assert facts["bytes"] == len(data) and facts["gap"] == pytest.approx(100 * (len(data) / 1500 - 1), abs=0.01)
    decoded = picture_in(data).convert("RGB")
    assert facts["psnr"] == pytest.approx(psnr(np.asarray(photograph()), np.asarray(decoded)), abs=1e-3)
    again, (more,) = unpack(client.get(f"/api/pictures/{id}/peers/{key}?size=1500"))  # with the sizes known
    assert again == facts and more == data


@given(st.lists(st.integers(1, 10**6), min_size=100, max_size=100), st.integers(1, 10**6), st.sets(st.integers(1, 100)))
def test_the_nearest_quality(sizes, target, known):
    sizes = dict(enumerate(sorted(sizes), 1))
    measured = {quality: sizes[quality] for quality in known}
    asked = []

    def size_of(quality):
        asked.append(quality)
        measured[quality] = sizes[quality]
        return sizes[quality]

    found = peers.nearest_quality(size_of, target, measured)
    best = min(abs(math.log(size / target)) for size in sizes.values())
    assert abs(math.log(sizes[found] / target)) <= max(best, peers.NEAR)
    assert len(asked) <= 7 and not set(asked) & known


def test_a_photograph_is_upright_opaque_srgb_pixels(client):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    facts, (shown,) = unpack(client.post("/api/pictures", content=file_of(photograph(), "JPEG", exif=exif)))
    assert facts["kind"] == "photograph" and (facts["width"], facts["height"]) == (80, 96) and not facts["remarks"]
    assert picture_in(shown).size == (80, 96) and not picture_in(shown).getexif()
    clear = photograph(mode="RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    facts, (shown,) = unpack(client.post("/api/pictures", content=file_of(clear)))
    white = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    assert np.abs(np.subtract(picture_in(shown), white, dtype=int)).max() <= 1 and "white" in facts["remarks"][0]
    for form, mode in (("TIFF", "CMYK"), ("PNG", "L"), ("GIF", "P"), ("WEBP", "RGB")):
        _, (shown,) = unpack(client.post("/api/pictures", content=file_of(photograph(mode=mode), form)))
        assert picture_in(shown).mode == "RGB" and picture_in(shown).size == (96, 80)


def test_an_lq_file_is_viewed(client, tiny_folder):
    clear = photograph(mode="RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    data = api.compress(clear, quality=33.5, model=tiny_folder)
    facts, (shown,) = unpack(client.post("/api/pictures", content=data))
    assert same(picture_in(shown), api.decompress(data, model=tiny_folder))
    assert (facts["kind"], facts["quality"], facts["bytes"]) == ("lq", 33.5, len(data)) and "id" not in facts
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    for bad in (damaged, data[:50], data[:4] + b"\x09" + data[5:]):
        assert client.post("/api/pictures", content=bad).status_code == 400


def refused(response, status, words=""):
    assert response.status_code == status, response.text
    (message,) = response.json().values()
    assert words in message and "\n" not in message and "Traceback" not in message
    return True


def test_bad_input_is_refused_in_a_line(client, id, settings):
    assert refused(client.post("/api/pictures", content=b"no image at all"), 400, "the file: not an image")
    assert refused(client.post("/api/pictures", content=b""), 400, "empty")
    assert refused(client.post("/api/pictures", content=file_of(photograph())[:-300]), 400, "the file: ")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    assert refused(client.post("/api/pictures", content=script), 400, "PostScript")  # needs a program to be drawn
    assert refused(client.get("/api/pictures/nothing/shown?quality=50"), 404, "no longer held")
    for quality in ("", "x", "nan", "0", "101", "1e999"):
        assert refused(client.get(f"/api/pictures/{id}/shown?quality={quality}"), 400, "quality must be")
    for size in ("", "nan", "0", "-5", "1e99"):
        assert refused(client.get(f"/api/pictures/{id}/peers/jpeg?size={size}"), 400, "size must be")
    assert refused(client.get(f"/api/pictures/{id}/peers/png?size=9"), 404)
    assert refused(client.get("/assets/page.html"), 404) and refused(client.get("/assets/..%2Fapp.py"), 404)
    assert refused(client.delete("/api/pictures"), 405)
    assert unpack(client.get(f"/api/pictures/{id}/shown?quality=50"))  # and goes on as before


def test_bytes_and_pixels_are_bounded(tiny_folder):
    limits = Limits(body=2000, pixels=96 * 80)
    with TestClient(create_app(Settings(str(tiny_folder), limits=limits)), base_url=HERE) as client:
        flat = Image.new("RGB", (97, 80))
        assert refused(client.post("/api/pictures", content=file_of(flat)), 413, "more than the limit of 7,680")
        assert unpack(client.post("/api/pictures", content=file_of(flat.crop((0, 0, 96, 80)))))
        for size in (2001, 4000, 4001, 100_000):  # read whole, or given up
            parts = (bytes(1000) for _ in range(size // 1000))
            assert refused(client.post("/api/pictures", content=bytes(size)), 413, "larger than 0.002 MB")
            assert size < 3000 or refused(client.post("/api/pictures", content=parts), 413, "larger")
        data = api.compress(flat, quality=1, model=tiny_folder)
        assert refused(client.post("/api/pictures", content=data), 413)


def test_an_upload_that_does_not_end_is_given_up(settings, monkeypatch):
    settings = Settings(settings.model, threads=1, limits=Limits(body_seconds=0.2))
    with server_of(settings) as port, socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
        connection.sendall(head(port).replace(b"GET /", b"POST /api/pictures") + b"Content-Length: 2\r\n\r\n.")
        answer = b""
        while b"the upload took longer than 0.2 seconds" not in answer:
            answer += connection.recv(100_000)
            assert answer.startswith(b"HTTP/1.1 400")


def test_more_than_the_line_holds_is_refused_and_none_is_lost(tiny_folder, monkeypatch):
    go, read = threading.Event(), work.read_photograph

    def slow(*arguments):
        go.wait(100)
        return read(*arguments)

    monkeypatch.setattr(work, "read_photograph", slow)
    limits = Limits(waiting=2, retry_seconds=7)
    with TestClient(create_app(Settings(str(tiny_folder), limits=limits)), base_url=HERE) as client:
        refusals = threading.Semaphore(0)

        def upload(_):
            response = client.post("/api/pictures", content=file_of(photograph()))
            if response.status_code == 503:
                refusals.release()
            return response

        with ThreadPoolExecutor(20) as pool:
            waiting = pool.map(upload, range(20))
            for _ in range(17):
                assert refusals.acquire(timeout=300)
            go.set()
            answers = list(waiting)
        assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 17
        for answer in answers:
            assert answer.status_code == 200 or (answer.headers["Retry-After"] == "7" and refused(answer, 503))
        assert len({unpack(answer)[0]["id"] for answer in answers if answer.status_code == 200}) == 3
        assert upload(0).status_code == 200


def test_pictures_are_few_and_the_unused_go():
    held = Pictures(count=3, held_bytes=9 * 100 * 5)
    ids = [held.add(Image.new("RGB", (10, 10))).id for _ in range(3)]
    held.get(ids[0])
    held.add(Image.new("RGB", (10, 10)))
    assert len(held) == 3 and held.get(ids[0])
    with pytest.raises(Exception, match="no longer held"):
        held.get(ids[1])
    huge = held.add(Image.new("RGB", (100, 100)))
    assert len(held) == 1 and held.get(huge.id) is huge  # the newest always


def test_stale_work_stops(tiny_folder):
    picture = Picture("id", photograph())
    check = picture.still(threading.Event())
    check()
    tokens, _ = work.show(picture.image, 50, str(tiny_folder), check)
    stages = []

    def moved_meanwhile():
        stages.append(None)
        picture.moves += len(stages) == 3
        check()

    with pytest.raises(SupersededError):
        work.file_of(picture.image, 50, tokens, str(tiny_folder), moved_meanwhile)
    assert len(stages) == 3
    with pytest.raises(SupersededError):
        peers.at_size(picture.image, peers.installed()["jpeg"], 1000, {}, check)
    with pytest.raises(ConfigError):
        work.show(picture.image, 0.5, str(tiny_folder), picture.still(threading.Event()))


def test_a_computation_ends_at_the_next_band_of_rows(tiny_folder, monkeypatch):
    monkeypatch.setattr(onnx_walk, "WHOLE_PIXELS", 0)
    monkeypatch.setattr(onnx_walk, "BAND_PIXELS", 64 * 64)
    image, picture = photograph(64, 1024), Picture("id", Image.new("RGB", (1, 1)))
    check, checks = picture.still(threading.Event()), []

    def moved_meanwhile():
        checks.append(None)
        picture.moves += len(checks) == 3
        check()

    with pytest.raises(SupersededError):
        work.show(image, 50, str(tiny_folder), moved_meanwhile)
    assert len(checks) == 3
    checks.clear()
    work.show(image, 50, str(tiny_folder), lambda: checks.append(None))
    assert len(checks) > 6


# ---- who may ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "192.168.1.5:8642", "127.0.0.1.evil.example:8642", "", "[::2]", "0.0.0.0"]
)
def test_other_names_are_refused(client, host):
    assert refused(client.get("/", headers={"Host": host}), 403, "does not answer to that name")


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:8642", "127.0.0.1:1", "[::1]:8642"])
def test_loopback_has_several_names(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Origin": "https://127.0.0.1:8642"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused(client, id, headers):
    assert refused(client.post("/api/pictures", content=file_of(photograph()), headers=headers), 403, "other sites")
    assert refused(client.get(f"/api/pictures/{id}/shown?quality=5", headers=headers), 403, "other sites")


def test_our_own_page_and_a_link_to_it_are_not(client):
    own = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/pictures", content=file_of(photograph()), headers=own).status_code == 200
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_beyond_loopback_a_token_is_needed(tiny_folder):
    app = create_app(Settings(str(tiny_folder), host="0.0.0.0", token="secret-token"))
    there = "http://192.168.1.5:8642"
    with TestClient(app, base_url=there) as client:
        for path in ("/", "/assets/page.js", "/?token=", "/?token=wrong", "/?token=%C3%A9", "/api/pictures/x/shown"):
            assert refused(client.get(path), 401, "token")
        assert refused(client.post("/api/pictures", content=b""), 401)
        assert refused(client.get("/", headers={"Cookie": "leechcodec-8642=wrong"}), 401)
        assert refused(client.get("/?token=secret-token", headers={"Host": "evil.example"}), 403)
        response = client.get("/?token=secret-token")
        assert response.status_code == 200
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(response.headers["Set-Cookie"].split("; "))
        assert client.get("/assets/page.js").status_code == 200  # the cookie is enough from now on
        assert "Set-Cookie" not in client.get("/").headers
        assert refused(client.get("/", headers={"Origin": "http://evil.example"}), 403)


def test_two_servers_of_a_host_have_a_cookie_each(tiny_folder):
    names = []
    for host in ("10.0.0.7:8642", "10.0.0.7:8643", "10.0.0.7", "[fd00::7]:8642"):
        app = create_app(Settings(str(tiny_folder), host="0.0.0.0", token="secret-token"))
        with TestClient(app, base_url=f"http://{host}") as client:
            names.append(client.get("/?token=secret-token").headers["Set-Cookie"].partition("=")[0])
            assert client.get("/").status_code == 200
    assert names == ["leechcodec-8642", "leechcodec-8643", "leechcodec-80", "leechcodec-8642"]


def test_the_page_can_reach_nothing_else(client):
    response = client.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "http:" not in policy and "unsafe" not in policy and "*" not in policy
    for headers in (response.headers, client.get("/nowhere").headers, client.get("/", headers={"Host": "x"}).headers):
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer" and "Access-Control-Allow-Origin" not in headers
    for path in ASSETS.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "http:" not in text and "https:" not in text and "innerHTML" not in text and " style=" not in text
    assert 'src="/assets/page.js"' in response.text
    assert client.get("/assets/page.js").headers["Content-Type"].startswith("text/javascript")


def test_what_is_unforeseen_is_answered_with_the_same_headers(settings, monkeypatch):
    def broken(*_):
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(work, "read_photograph", broken)
    with TestClient(create_app(settings), base_url=HERE, raise_server_exceptions=False) as client:
        response = client.post("/api/pictures", content=b"a photograph")
    assert refused(response, 500, "internal error")
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


WRITTEN: list[str] | None = None


def note_writes(event, arguments):
    if WRITTEN is not None and event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3:
        WRITTEN.append(str(arguments[0]))


def test_nothing_is_written_to_disk(client, id):
    global WRITTEN
    sys.addaudithook(note_writes)  # for good, but quiet without a list
    big = np.random.default_rng(1).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    data = file_of(Image.fromarray(big))
    assert len(data) > 2**20  # where form parsers begin to use temporary files
    tiff = file_of(photograph(), "TIFF", compression="tiff_lzw")
    WRITTEN = []
    try:
        answers = [client.post("/api/pictures", content=body) for body in (data, tiff)]
        answers += [client.get(f"/api/pictures/{id}/{what}?quality=50") for what in ("shown", "file")]
        answers += [client.get(f"/api/pictures/{id}/peers/{key}?size=1500") for key in PEERS]
        answers.append(client.post("/api/pictures", content=unpack(answers[3])[1][0]))
        written = [path for path in WRITTEN if "__pycache__" not in path]  # compiled code is kept
    finally:
        WRITTEN = None
    assert all(answer.status_code == 200 for answer in answers) and not written


# ---- the command -------------------------------------------------------------------------------------------------


def test_the_help_imports_nothing_heavy():
    program = (
        "import sys; from click.testing import CliRunner; from leechcodec.apps.cli import main; "
        "r = CliRunner().invoke(main, ['serve', '--help']); assert '--host' in r.output, r.output; "
        "assert not {'torch', 'numpy', 'starlette', 'uvicorn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_the_extra_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 1 and "pip install 'leechcodec[serve]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_model_that_is_not_there_is_said_before_anything_is_served():
    result = CliRunner().invoke(main, ["serve", "--model", "nothing", "--port", "0"])
    assert result.exit_code == 1 and "no model" in result.stderr and not result.stdout


def test_the_address_is_printed_with_a_token_beyond_loopback(monkeypatch, tiny_folder):
    seen = []

    def run(settings, port, listening):
        seen.append(settings)
        listening(port or 1234)

    monkeypatch.setattr(server, "run", run)
    monkeypatch.setattr(serving, "_leave", lambda: None)  # it may end this process
    for host, url in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost")):
        result = CliRunner().invoke(main, ["serve", "--host", host, "--port", "0"])
        assert result.stdout == f"http://{url}:1234/\n" and not result.stderr and seen[-1].token is None
    for host, url in (("0.0.0.0", "127.0.0.1"), ("10.0.0.7", "10.0.0.7"), ("my-host", "my-host"), ("::", "[::1]")):
        result = CliRunner().invoke(main, ["serve", "--host", host])
        token = seen[-1].token
        assert len(token) > 40 and result.stdout == f"http://{url}:8642/?token={token}\n"
        assert "not encrypted" in result.stderr
        assert host not in ("0.0.0.0", "::") or f"in place of {url}" in result.stderr
    assert len({settings.token for settings in seen[3:]}) == 4


@contextlib.contextmanager
def server_of(settings):
    """The port of a server in a thread."""
    ports, told = [], threading.Event()

    def listening(port):
        ports.append(port)
        told.set()

    running = server.make_server(settings, 0, listening)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        assert told.wait(300)
        yield ports[0]
    finally:
        running.should_exit = True
        thread.join()


def test_an_address_that_cannot_be_listened_on_is_said_in_a_line(settings, monkeypatch):
    monkeypatch.setattr(server, "warm_up", lambda _: None)
    with server_of(settings) as port:
        result = CliRunner().invoke(main, ["serve", "--model", settings.model, "--port", str(port)])
    assert result.exit_code == 1 and not result.stdout and len(result.stderr.splitlines()) == 1
    assert f"cannot listen on 127.0.0.1, port {port}: " in result.stderr and "try --port 0" in result.stderr
    for host in ("192.0.2.1", 70 * "a"):  # of no machine, and no name
        with pytest.raises(server.AddressError, match=f"cannot listen on {host}") as caught:
            server.bind(host, 0)
        assert "--port" not in str(caught.value)


def test_a_host_of_several_addresses_has_one_port(monkeypatch):
    of_no_machine, *others = (
        socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        for host in ("192.0.2.1", "127.0.0.1", "127.0.0.2", "127.0.0.2")
    )
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [of_no_machine, *others])
    try:
        bound = server.bind("localhost", 0)
    except server.AddressError:
        pytest.skip("127.0.0.2 is not everywhere")
    assert len(bound) == 2 and len({sock.getsockname()[1] for sock in bound}) == 1
    for sock in bound:
        sock.close()


def head(port):
    return f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode()


def test_a_connection_without_a_request_is_closed(settings, monkeypatch):
    monkeypatch.setattr(server, "HEAD_SECONDS", 1.0)
    with server_of(settings) as port, contextlib.ExitStack() as stack:
        idle, partial, kept = (
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=300)) for _ in range(3)
        )
        partial.sendall(head(port))
        kept.sendall(head(port) + b"\r\n")
        assert kept.recv(12) == b"HTTP/1.1 200"
        kept.sendall(head(port))
        for connection in (idle, partial, kept):
            while connection.recv(100_000):  # to its end
                pass


@pytest.mark.parametrize("reads", [False, True])
def test_a_client_that_does_not_take_its_answer_is_let_go(settings, monkeypatch, reads):
    noise = np.random.default_rng(0).integers(0, 256, (1600, 2400, 3), np.uint8)  # more than sockets keep
    monkeypatch.setattr(server, "READ_SECONDS", 1.0)
    monkeypatch.setattr(work, "read_photograph", lambda *_: (image, answer))
    image, answer = Image.fromarray(noise), work.Answer({}, (work.Part(noise.tobytes(), "image/png"),))
    post, received = "POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: 1\r\n\r\n ", 0
    with server_of(settings) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.settimeout(300)
        client.connect(("127.0.0.1", port))
        client.sendall(post.format(port).encode())
        time.sleep(0 if reads else 4)
        with contextlib.suppress(ConnectionResetError):
            while received < noise.nbytes and (part := client.recv(1 << 20)):
                received += len(part)
                time.sleep(0.01)
    assert (received >= noise.nbytes) == reads


def test_a_request_that_takes_long_is_not_closed(settings, monkeypatch):
    read = work.read_photograph
    monkeypatch.setattr(server, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(work, "read_photograph", lambda *arguments: (time.sleep(1.5), read(*arguments))[1])
    with server_of(settings) as port, contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
        for method, path, body in (("POST", "/api/pictures", file_of(photograph())), ("GET", "/", None)):
            client.request(method, path, body)
            response = client.getresponse()
            assert response.status == 200 and response.read()


@pytest.mark.parametrize("what", ["shown?quality=50", "file?quality=50", "peers/jpeg?size=1000"])
def test_work_that_nobody_waits_for_ends(settings, monkeypatch, what):
    begun, ended = threading.Event(), threading.Event()

    def endless(*arguments):
        begun.set()
        try:
            while not ended.wait(0.01):
                arguments[-1]()  # the check
        except SupersededError:
            ended.set()
            raise

    for module, name in ((work, "show"), (work, "file_of"), (peers, "at_size")):
        monkeypatch.setattr(module, name, endless)
    with server_of(settings) as port:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            client.request("POST", "/api/pictures", file_of(photograph()))
            id = json.loads(client.getresponse().headers["X-Leechcodec"])["id"]
        with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
            connection.sendall(head(port).replace(b"GET /", f"GET /api/pictures/{id}/{what}".encode()) + b"\r\n")
            assert begun.wait(300) and not ended.wait(0.2)
        assert ended.wait(300)


BUSY = """
import threading
from leechcodec.apps.cli import main
from leechcodec.apps.serve import server, work
server.SHUTDOWN_SECONDS, server.warm_up = 1, lambda model: None
def endless(*_):
    print("at work", flush=True)
    threading.Event().wait()
work.read_photograph = endless
main(["serve", "--port", "0"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is a signal elsewhere")
def test_ctrl_c_ends_the_server_in_the_middle_of_a_picture():
    command = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        port = int(command.stdout.readline().strip().rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
            post = head(port).replace(b"GET /", b"POST /api/pictures")
            connection.sendall(post + b"Content-Length: 1\r\n\r\n.")
            assert command.stdout.readline() == "at work\n"
            command.send_signal(signal.SIGINT)
            _, said = command.communicate(timeout=300)
        assert command.returncode == 0 and "Traceback" not in said
    finally:
        command.kill()
        command.wait()
