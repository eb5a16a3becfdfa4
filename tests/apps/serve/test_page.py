import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the server needs starlette: pip install 'leechcodec[serve]'")
pytest.importorskip("uvicorn", reason="the server needs uvicorn: pip install 'leechcodec[serve]'")

from leechcodec.apps.serve import server
from leechcodec.apps.serve.settings import Settings
from leechcodec.codec import api
from tests.gestures import drag_divider

pytestmark = pytest.mark.slow

WAIT = 300_000
"""Milliseconds: for machines that are busy."""


def photograph(width=240, height=180):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows, columns, rows // 2 + columns // 2], axis=2) + rng.integers(0, 20, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def address(tiny_folder):
    """Of a server with the tiny model."""
    ports, told = [], threading.Event()

    def listening(port):
        ports.append(port)
        told.set()

    serving = server.make_server(Settings(model=str(tiny_folder), threads=1), 0, listening)
    thread = threading.Thread(target=serving.run)
    thread.start()
    assert told.wait(300)
    yield f"http://127.0.0.1:{ports[0]}/"
    serving.should_exit = True
    thread.join()


@pytest.fixture(params=["desktop", "phone"])
def tab(request, chromium, address):
    """The page, open; whatever it fetched from elsewhere or complained of fails the test."""
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
    desktop = {"viewport": {"width": 1100, "height": 800}}
    screen = phone if request.param == "phone" else desktop
    context = chromium.new_context(**screen, reduced_motion="reduce", accept_downloads=True)
    context.set_default_timeout(WAIT)
    tab = context.new_page()
    tab.phone = request.param == "phone"
    tab.expected = ()
    troubles = []
    tab.on("console", lambda message: troubles.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    ours = (address, f"blob:{address}", "data:")
    tab.on("request", lambda sent: sent.url.startswith(ours) or troubles.append(f"network: {sent.url}"))
    tab.goto(address)
    yield tab
    assert [trouble for trouble in troubles if not any(words in trouble for words in tab.expected)] == []
    context.close()


def choose(tab, image, name="photo.jpg"):
    data = image if isinstance(image, bytes) else png(image)
    tab.locator("#file").set_input_files({"name": name, "mimeType": "application/octet-stream", "buffer": data})


def settle(tab):
    """Wait until the picture, its file and every other codec's are there; the table's rows as texts."""
    tab.wait_for_function(
        """() => document.querySelectorAll('#codecs tr').length > 1 && !document.getElementById('status').textContent
            && ![...document.querySelectorAll('#codecs td, #size')].some(cell => cell.textContent === '…')"""
    )
    return [row.locator("th, td").all_inner_texts() for row in tab.locator("#codecs tr").all()]


def saved(tab, link):
    with tab.expect_download() as waiting:
        tab.locator(link).click()
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def test_a_photograph_is_coded_compared_and_saved(tab, tiny_folder):
    assert tab.locator("#result").is_hidden()
    choose(tab, photograph())
    rows = settle(tab)
    assert [row[0] for row in rows][:3] == ["leechcodec", "JPEG 4:2:0", "WebP"]
    name, data = saved(tab, "#download-lq")
    assert name == "photo.lq" and data == api.compress(photograph(), quality=50, model=tiny_folder)
    name, shown = saved(tab, "#download-png")
    assert name == "photo.png"
    assert np.array_equal(Image.open(io.BytesIO(shown)), api.decompress(data, model=tiny_folder))
    size = f"{len(data):,} bytes" if len(data) < 10_000 else f"{len(data) / 1000:.1f} kB"
    assert rows[0][1] == size == tab.locator("#size").inner_text()
    assert tab.locator("#bpp").inner_text() == f"{8 * len(data) / (240 * 180):.3f}"
    assert tab.locator("#psnr").inner_text().endswith(" dB")
    assert all("%" in row[2] and row[4].endswith(" dB") for row in rows[1:])
    # Beside it the original, pixel for pixel, then another codec's own file.
    pixels = """async id => { const image = document.getElementById(id); await image.decode();
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext('2d');
        canvas.drawImage(image, 0, 0);
        return [...canvas.getImageData(0, 0, canvas.canvas.width, canvas.canvas.height).data]; }"""
    original = np.reshape(tab.evaluate(pixels, "right"), (180, 240, 4))[:, :, :3]
    assert np.array_equal(original, photograph())
    tab.get_by_label("Beside it").select_option("webp")
    assert "WebP" in tab.locator("#right-caption").inner_text()
    other = np.reshape(tab.evaluate(pixels, "right"), (180, 240, 4))[:, :, :3]
    assert 0 < np.abs(other - np.asarray(photograph(), dtype=int)).mean() < 60


def test_the_dial_asks_for_new_pictures(tab):
    choose(tab, photograph(), "another <b>name</b>.png")
    settle(tab)
    assert tab.locator("#name").inner_text().startswith("another <b>name</b>.png")
    before = tab.locator("#left").get_attribute("src")
    dial = tab.get_by_label("Quality", exact=True)
    dial.focus()
    for _ in range(5):
        tab.keyboard.press("ArrowRight")
    assert tab.locator("#number").input_value() == "55"
    tab.wait_for_function("() => document.getElementById('left-caption').textContent.includes('quality 55')")
    settle(tab)
    assert tab.locator("#left").get_attribute("src") != before
    tab.get_by_label("Quality as a number").fill("12")
    tab.keyboard.press("Tab")
    assert dial.input_value() == "12"
    tab.wait_for_function("() => document.getElementById('left-caption').textContent.includes('quality 12')")
    settle(tab)


def test_the_divider_moves_by_key_and_pointer(tab):
    choose(tab, photograph())
    settle(tab)
    divider, slider = tab.locator("#position"), tab.locator("#slider")
    divider.focus()
    tab.keyboard.press("ArrowRight")
    assert divider.get_attribute("aria-valuetext") == "51 % leechcodec, 49 % Original"
    slider.evaluate("slider => slider.scrollIntoView({ block: 'center' })")
    drag_divider(tab, slider)
    assert float(divider.input_value()) == pytest.approx(75, abs=1)
    clip = tab.locator(".side.left").evaluate("side => getComputedStyle(side).clipPath")
    assert clip == "inset(0px 25% 0px 0px)"
    tab.get_by_label("Shown").select_option("4")
    assert slider.bounding_box()["width"] == 960
    handle = tab.locator(".divider").bounding_box()
    stage = tab.locator("#stage").bounding_box()
    assert stage["x"] <= handle["x"] <= stage["x"] + stage["width"]  # in sight
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_lq_file_is_dropped_and_viewed(tab, tiny_folder):
    image = photograph(100, 120)
    image.putalpha(128)
    data = api.compress(image, quality=40, model=tiny_folder)
    tab.evaluate(
        """text => { const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "holiday.lq"));
            const options = { dataTransfer, bubbles: true, cancelable: true };
            for (const type of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(type, options)); }""",
        base64.b64encode(data).decode(),
    )
    tab.wait_for_selector("#result:not([hidden])")
    assert "100 × 120" in tab.locator("#name").inner_text()
    assert tab.locator("#quality").is_hidden() and tab.locator("#codecs").is_hidden()
    assert tab.locator("#download-lq").is_hidden() and tab.locator(".divider").is_hidden()
    assert "quality 40" in tab.locator("#left-caption").inner_text()
    name, shown = saved(tab, "#download-png")
    assert name == "holiday.png"
    assert np.array_equal(Image.open(io.BytesIO(shown)), api.decompress(data, model=tiny_folder))
    choose(tab, photograph())  # and from there to a photograph
    settle(tab)
    assert tab.locator("#quality").is_visible() and tab.locator("#download-lq").is_visible()


def test_what_is_refused_is_said_and_the_page_goes_on(tab):
    tab.expected = ("400 (Bad Request)",)
    choose(tab, b"no image at all", "notes.txt")
    tab.wait_for_selector("#error:not([hidden])")
    assert "not an image that can be read" in tab.locator("#error").inner_text()
    assert tab.locator("#error").get_attribute("role") == "alert" and tab.locator("#result").is_hidden()
    choose(tab, photograph())
    settle(tab)
    assert tab.locator("#error").is_hidden()


def test_a_busy_server_is_asked_again_and_a_forgotten_picture_sent_again(tab):
    tab.expected = ("503 (Service Unavailable)", "404 (Not Found)")
    asked = {"shown": [], "pictures": []}

    def once(kind, status, headers):
        def answer(route):
            asked[kind].append(route.request.url)
            if len(asked[kind]) == 1:
                route.fulfill(status=status, headers=headers, json={"error": "no"})
            else:
                route.fallback()

        return answer

    tab.route("**/api/pictures", once("pictures", 503, {"Retry-After": "1"}))
    tab.route("**/shown?*", once("shown", 404, {}))
    choose(tab, photograph())
    settle(tab)
    assert len(asked["pictures"]) == 3 and len(asked["shown"]) == 2
    assert asked["shown"][0] != asked["shown"][1]  # another id


def test_what_the_page_waits_for_is_said_from_the_start(tab):
    tab.expected = ("503 (Service Unavailable)",)
    go = []
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"error": "busy"}}
    tab.route("**/api/pictures", lambda route: route.fallback() if go else route.fulfill(**busy))
    choose(tab, photograph())
    tab.get_by_role("status").get_by_text("The server is busy").wait_for(state="visible")
    go.append(True)
    settle(tab)


def test_a_drag_that_rests_and_ends_asks_once(tab):
    choose(tab, photograph())
    settle(tab)
    asked = []
    tab.on("request", lambda sent: asked.append(sent.url.rpartition("/")[2]))
    number = tab.get_by_label("Quality as a number")
    number.evaluate(
        """number => { const dial = document.getElementById('quality');
            dial.value = 60;
            dial.dispatchEvent(new Event('input', { bubbles: true })); }"""
    )
    tab.wait_for_function("() => document.getElementById('left-caption').textContent.includes('quality 60')")
    settle(tab)
    tab.locator("#quality").dispatch_event("change")
    settle(tab)
    assert [what for what in asked if "quality" in what] == ["shown?quality=60", "file?quality=60"]
    number.fill("61")
    tab.keyboard.press("Tab")
    tab.wait_for_function("() => document.getElementById('left-caption').textContent.includes('quality 61')")
    settle(tab)


def test_a_file_that_fails_leaves_no_promise(tab):
    tab.expected = ("500 (Internal Server Error)",)
    choose(tab, photograph())
    tab.get_by_label("Beside it").select_option("webp")
    settle(tab)
    fails = []
    failure = {"status": 500, "json": {"error": "out of memory"}}
    tab.route("**/file?*", lambda route: route.fallback() if fails else (fails.append(1), route.fulfill(**failure)))
    dial = tab.get_by_label("Quality", exact=True)
    dial.fill("60")
    tab.wait_for_selector("#error:not([hidden])")
    assert tab.locator("#error").inner_text() == "out of memory" and not tab.locator("#status").inner_text()
    assert tab.locator("#size").inner_text() == tab.locator("#bpp").inner_text() == "–"
    assert "…" not in tab.locator("#result").inner_text()
    assert tab.locator("#right").is_hidden()  # what was WebP at another size
    dial.dispatch_event("change")  # once more
    rows = settle(tab)
    assert "–" not in [row[1] for row in rows] and tab.locator("#right").is_visible()


def test_a_file_that_the_browser_cannot_read_is_no_silent_server(tab):
    tab.evaluate(
        """() => { const file = new File(["gone"], "gone.png"), dataTransfer = new DataTransfer();
            Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException("", "NotFoundError"));
            dataTransfer.items.add(file);
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true })); }"""
    )
    tab.wait_for_selector("#error:not([hidden])")
    assert tab.locator("#error").inner_text() == "gone.png: cannot be read."


def test_a_codec_that_refuses_leaves_the_others_their_turn(tab):
    tab.expected = ("400 (Bad Request)",)
    words = "JPEG 4:2:0: too large a picture"
    tab.route("**/peers/jpeg?*", lambda route: route.fulfill(status=400, json={"error": words}))
    choose(tab, photograph())
    tab.get_by_label("Beside it").select_option("jpeg")
    rows = {row[0]: row[1] for row in settle(tab)}
    assert rows.pop("JPEG 4:2:0") == "–" and not {"–", "…"} & set(rows.values())
    assert tab.locator("#error").inner_text() == words
    assert tab.locator("#right-caption").inner_text().endswith("–")


def test_the_page_is_usable_by_everybody(tab):
    choose(tab, photograph())
    settle(tab)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    unnamed = """[...document.querySelectorAll('input, select, a, [tabindex]')].filter(element =>
        !element.getAttribute('aria-label') && !element.labels?.length
        && !(element.matches('a') && element.textContent.trim())).length"""
    assert tab.evaluate(unnamed) == 0
    tab.locator("body").evaluate("body => { body.tabIndex = -1; body.focus(); body.removeAttribute('tabindex'); }")
    reached = []
    for _ in range(12):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id"))
    order = ["file", "quality", "number", "other", "zoom", "position", "download-lq", "download-png"]
    assert [id for id in reached if id in order][: len(order)] == order


def test_the_token_leaves_the_address_bar(chromium, tiny_folder):
    ports, told = [], threading.Event()

    def listening(port):
        ports.append(port)
        told.set()

    serving = server.make_server(Settings(model=str(tiny_folder), token="secret-token"), 0, listening)
    thread = threading.Thread(target=serving.run)
    thread.start()
    try:
        assert told.wait(300)
        address = f"http://127.0.0.1:{ports[0]}/"
        context = chromium.new_context()
        context.set_default_timeout(WAIT)
        tab = context.new_page()
        assert tab.goto(address).status == 401
        tab.goto(f"{address}?token=secret-token")
        tab.wait_for_function("() => location.search === ''")
        choose(tab, photograph(64, 64))
        settle(tab)
        assert tab.goto(address).status == 200
        context.close()
    finally:
        serving.should_exit = True
        thread.join()
