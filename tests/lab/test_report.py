import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageChops

pytest.importorskip("plotly", reason="the report needs plotly")

from leechcodec.lab.errors import ResultsError
from leechcodec.lab.peers.registry import adapter, adapter_of
from leechcodec.lab.report import pictures
from leechcodec.lab.report.command import build_report, report
from leechcodec.lab.report.pictures import busiest, matched
from leechcodec.lab.results import ImageRow, Results, load, means, save
from tests.gestures import drag_divider
from tests.lab.lab_files import picture

NAMES = ("a <img src=x onerror=fail()> & co.png", "b.png", "c.png")
DIALS = {"leech": (5, 30, 60, 85), "webp": (2, 25, 55, 90), "jpeg": (5, 30, 60, 85)}
STANDS_FOR = {"leech": "webp", "webp": "webp", "jpeg": "jpeg"}
HOSTILE = 'JPEG </script><script>fail()</script> & "co"'


def write_results(folder, originals, key, **changes):
    """A results file with real compressed files; "leech" is a stand-in so that the test needs no model."""
    peer = adapter(STANDS_FOR[key])
    rows = []
    for value in DIALS[key]:
        for name in sorted(path.name for path in originals.iterdir()):
            original = Image.open(originals / name)
            data = peer.encode(original, peer.setting(value))
            path = folder / "files" / key / f"q{value}" / f"{name}{peer.extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            pixels = original.width * original.height
            error = np.square(np.subtract(original, peer.decode(data), dtype=float)).mean()
            facts = dict(width=original.width, height=original.height, bytes=len(data), bpp=8 * len(data) / pixels)
            measured = dict(
                psnr=float(10 * np.log10(255**2 / error)), ms_ssim=None, ssim=0.9, ssimulacra2=None, lpips=None
            )
            times = dict(encode_s=0.01, decode_s=0.01, file=path.relative_to(folder).as_posix())
            rows.append(ImageRow(image=name, setting=f"q{value}", **facts, **measured, **times))
    settings, columns = means(rows)
    about = dict(description="made up", dataset=str(originals), machine={"cores": 2}, versions={"pillow": "1"})
    facts = dict(name=key, codec=key, **about, model=None) | changes
    save(Results(**facts, settings=settings, results=columns, images=tuple(rows)), folder / f"{key}.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(results, originals): three codecs on three small pictures."""
    results, originals = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("photographs")
    for number, name in enumerate(NAMES):
        picture(*((240, 180) if number else (120, 200)), seed=number).save(originals / name)
    write_results(results, originals, "leech")
    write_results(results, originals, "webp", name="WebP", model={"name": "m", "source": "/somewhere/private"})
    write_results(results, originals, "jpeg", name=HOSTILE)
    return results, originals


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(pictures, "adapter_of", lambda key, model: adapter_of(STANDS_FOR.get(key, key), model))


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    """The folder of a page with everything on it."""
    folder = tmp_path_factory.mktemp("page")
    published = folder / "published.json"
    curve = {"bpp": [0.1, 0.5, 1.0, 2.0], "psnr": [24, 29, 33, 38], "ms_ssim": None, "source": "nowhere"}
    published.write_text(json.dumps({"Old <b>codec</b>": curve, "One point": {"bpp": [1], "psnr": [30]}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "adapter_of", lambda key, model: adapter_of(STANDS_FOR.get(key, key), model))
        build_report(made[0], folder / "out", published=published)
    return folder / "out"


def data_of(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="report-data">(.*?)</script>', text, re.DOTALL).group(1))


def test_every_image_rate_and_codec_is_there(made, page):
    data = data_of(page)
    assert [image["name"] for image in data["images"]] == sorted(NAMES)
    assert data["reference"] == "leech" and data["rates"] == [0.15, 0.25, 0.5]
    for image in data["images"]:
        original = Image.open(made[1] / image["name"])
        assert np.array_equal(Image.open(page / image["original"]).convert("RGB"), original)
        for rate in image["rates"]:
            assert set(rate["shown"]) == {"leech", "webp", "jpeg"}
            ours = rate["shown"]["leech"]["bytes"]
            for entry in rate["shown"].values():
                assert Image.open(page / entry["file"]).size == original.size
                assert entry["gap"] == pytest.approx(100 * (entry["bytes"] / ours - 1))


def test_a_picture_is_the_decoded_file(made, page):
    entry = data_of(page)["images"][1]["rates"][2]["shown"]["jpeg"]
    file = made[0] / "files" / "jpeg" / entry["setting"] / "b.png.jpg"
    assert entry["bytes"] == file.stat().st_size
    assert np.array_equal(Image.open(page / entry["file"]).convert("RGB"), Image.open(file).convert("RGB"))


def test_names_from_files_are_text_and_nothing_is_fetched(page):
    tags = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))

    text = (page / "index.html").read_text(encoding="utf-8")
    Tags().feed(text)
    assert not any("onerror" in attributes for _, attributes in tags)
    assert [tag for tag, _ in tags].count("script") == 4  # pictures, plotly, curves, data
    assert HOSTILE not in text and "<b>codec</b>" not in text and "/somewhere/private" not in text
    links = [attributes[key] for _, attributes in tags for key in ("src", "href") if attributes.get(key)]
    assert links and not any(re.match(r"[a-z]+:|//", link) for link in links if link != "data:,")
    assert all((page / link).is_file() for link in links if not link.startswith(("#", "data:")))


def test_curves_and_bd_rates(page):
    pytest.importorskip("bjontegaard")
    data = data_of(page)
    assert [curve["published"] for curve in data["curves"]] == [False, False, False, True, True]
    assert [metric["key"] for metric in data["metrics"]] == ["psnr"]  # nothing else was measured
    assert data["curves"][0]["points"]["psnr"]["labels"] == ["q5", "q30", "q60", "q85"]
    text = (page / "index.html").read_text(encoding="utf-8")
    assert re.search(r"Against WebP, leech needs <b>\d+\.\d % (fewer|more)</b> bits at equal PSNR", text)
    assert "Old &lt;b&gt;codec&lt;/b&gt; <small>as published</small>" in text


def test_range_and_speed(page):
    text = (page / "index.html").read_text(encoding="utf-8")
    section = text[text.index('id="speed"') : text.index('id="pictures"')]
    assert '<tr data-codec="leech"><th scope="row">leech</th>' in section and "Process: encode, s" in section
    assert "A process is" not in section  # none was timed


@pytest.mark.slow
def test_kinds_of_images_have_rates_and_pictures_of_their_own(made, tmp_path):
    pytest.importorskip("bjontegaard")
    results = copy(made, tmp_path)
    for kind, name in (("text", "b.png"), ("photographs", "c.png")):
        (tmp_path / "kinds" / kind).mkdir(parents=True)
        shutil.copy(made[1] / name, tmp_path / "kinds" / kind)
    for path in results.glob("*.json"):
        found = load(path)
        rows = [row for row in found.images if row.image in ("b.png", "c.png")]
        rows = [replace(row, image=f"{'text' if row.image == 'b.png' else 'photographs'}/{row.image}") for row in rows]
        settings, columns = means(rows)
        changed = dict(dataset=str(tmp_path / "kinds"), settings=settings, results=columns, images=tuple(rows))
        save(replace(found, **changed), path)
    text = build_report(results, tmp_path / "out").read_text(encoding="utf-8")
    assert "leech against WebP on each kind of images." in text and '<th scope="row">text</th>' in text
    assert [image["name"] for image in data_of(tmp_path / "out")["images"]] == ["photographs/c.png", "text/b.png"]
    path = results / "webp.json"  # which failed on all of one kind
    found = load(path)
    rows = tuple(row for row in found.images if row.image == "text/b.png")
    settings, columns = means(rows)
    save(replace(found, settings=settings, results=columns, images=rows), path)
    text = build_report(results, tmp_path / "lacking").read_text(encoding="utf-8")
    assert '<th scope="row">text</th>' in text and '<th scope="row">photographs</th>' not in text


@pytest.mark.parametrize("name", ["../a.png", "../../a.png", "text/../../a.png", "/etc/passwd", "text/.."])
def test_an_image_is_never_looked_for_outside_the_data_set(name, tmp_path):
    with pytest.raises(ResultsError, match="not a name"):
        pictures._original(tmp_path, name)


def test_an_anchor_that_was_not_measured(made, tmp_path):
    text = build_report(made[0], tmp_path, images=1, anchor="nothing").read_text(encoding="utf-8")
    assert "No BD-rates" in text and "&#x27;nothing&#x27;" in text


@pytest.mark.parametrize(("anchor", "key"), [("WebP", "webp"), ("JPEG", "jpeg"), ("nothing", "")])
def test_an_anchor_by_its_name_is_the_picture_beside_ours(made, tmp_path, anchor, key):
    build_report(made[0], tmp_path, images=1, anchor=anchor)
    assert data_of(tmp_path)["anchor"] == key


def test_pictures_are_written_once(made, tmp_path, monkeypatch):
    build_report(made[0], tmp_path, images=1)
    assert [image["name"] for image in data_of(tmp_path)["images"]] == [NAMES[0]]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    monkeypatch.setattr(pictures, "adapter_of", lambda key, model: pytest.fail("decoded again"))
    build_report(made[0], tmp_path, images=1)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()} == times


def test_files_are_matched_by_rate_then_by_size():
    def codec(*sizes):
        facts = dict(
            image="x",
            width=8,
            height=8,
            psnr=1.0,
            ms_ssim=None,
            ssim=None,
            ssimulacra2=None,
            lpips=None,
            encode_s=0,
            decode_s=0,
        )
        rows = tuple(ImageRow(setting=str(n), bytes=n, bpp=n / 8, file="", **facts) for n in sizes)
        about = dict(name="", codec="", description="", dataset="", machine={}, versions={}, model=None)
        return Results(**about, settings=(), results={}, images=rows)

    found = matched([codec(1, 2, 6), codec(1, 5, 8), codec(100), codec(0)], "x", 0.5)
    assert [row.bytes for _, row in found] == [6, 5, 100]  # and no empty file


def test_the_busiest_window_is_found():
    weight = np.zeros((300, 400))
    weight[200:260, 250:300] = 1
    x, y = busiest(weight)
    assert abs(x - 275) <= 80 and abs(y - 230) <= 60
    assert busiest(np.ones((20, 10))) == [5, 10]


def copy(made, folder):
    """The results, to be spoilt."""
    return shutil.copytree(made[0], folder / "copy")


def test_what_cannot_be_shown_is_named_and_the_rest_shown(made, tmp_path):
    results = copy(made, tmp_path)
    (results / "old.json").write_text('{"schema": 0, "codec": "old"}')
    (results / "half.json").write_text('{"schema": 1, "co')
    (results / "note.json").write_text("[]")
    (results / "files/jpeg/q5/b.png.jpg").write_bytes(b"\xff\xd8 no picture")
    for path in (results / "files/webp").glob("*/b.png.webp"):
        path.unlink()
    with pytest.warns(UserWarning) as caught:
        page = build_report(results, tmp_path / "out", images=2)
    messages = "\n".join(str(warning.message) for warning in caught)
    for name in ("old.json", "half.json", "note.json"):
        assert f"{name} is left out" in messages
    assert "b.png, WebP: no picture: No such file" in messages
    assert str(tmp_path) not in page.read_text(encoding="utf-8")
    shown = data_of(page.parent)["images"][1]["rates"][1]["shown"]
    assert "file" in shown["leech"] and "file" not in shown["webp"] and shown["webp"]["bytes"] > 0


def test_a_path_out_of_the_results_folder_is_not_read(made, tmp_path):
    results = copy(made, tmp_path)
    Image.new("RGB", (240, 180)).save(tmp_path / "secret.webp")
    content = json.loads((results / "webp.json").read_text())
    for row in content["images"]:
        row["file"] = "../secret.webp"
    (results / "webp.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="outside the results folder"):
        build_report(results, tmp_path / "out", images=2)


def test_a_decoder_that_is_not_there_is_named_without_its_path(made, tmp_path):
    results = copy(made, tmp_path)
    content = json.loads((results / "webp.json").read_text())
    model = {"name": "twin", "source": str(tmp_path / "models" / "twin")}
    (results / "bsq.json").write_text(json.dumps(content | {"codec": "bsq", "name": "BSQ", "model": model}))
    (results / "webp.json").write_text(json.dumps(content | {"codec": "unheard-of"}))
    with pytest.warns(UserWarning) as caught:
        page = build_report(results, tmp_path / "out", images=2)
    messages = "\n".join(str(warning.message) for warning in caught)
    assert "b.png, BSQ: no picture: " in messages and "no codec or installed model 'unheard-of'" in messages
    assert str(tmp_path) not in messages + page.read_text(encoding="utf-8")


def test_without_the_originals_the_page_has_no_pictures(made, tmp_path):
    results = copy(made, tmp_path)
    content = json.loads((results / "leech.json").read_text())
    (results / "leech.json").write_text(json.dumps(content | {"dataset": str(tmp_path / "gone")}))
    with pytest.warns(UserWarning) as caught:
        page = build_report(results, tmp_path / "out")
    assert "b.png: no picture: No such file or directory" in [str(warning.message) for warning in caught]
    text = page.read_text(encoding="utf-8")
    assert "No picture can be shown" in text and 'id="plot"' in text


def test_nothing_to_report_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="no such folder"):
        build_report(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "old.json").write_text('{"schema": 0}')
    with pytest.warns(UserWarning, match=r"old\.json"), pytest.raises(ResultsError, match="no usable results"):
        build_report(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(made, tmp_path):
    outcome = CliRunner().invoke(report, [str(made[0]), "-o", str(tmp_path / "out"), "--images", "1"])
    assert outcome.exit_code == 0, outcome.exception
    assert outcome.stdout.strip() == str(tmp_path / "out" / "index.html")


# ---- in a browser -----------------------------------------------------------------------------------------------


@pytest.fixture(params=["desktop", "phone"])
def tab(request, chromium, page):
    """The page, open; whatever it fetched or complained of fails the test."""
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
    desktop = {"viewport": {"width": 1100, "height": 800}}
    screen = phone if request.param == "phone" else desktop
    context = chromium.new_context(**screen, reduced_motion="reduce")  # nothing moves while it is being clicked
    context.set_default_timeout(120_000)  # for machines that are busy
    tab = context.new_page()
    tab.phone = request.param == "phone"
    troubles = []
    tab.on("console", lambda message: troubles.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    tab.on("requestfailed", lambda failed: troubles.append(f"failed: {failed.url}"))
    tab.on("request", lambda sent: sent.url.startswith(("file:", "data:")) or troubles.append(f"network: {sent.url}"))
    tab.goto((page / "index.html").as_uri())
    tab.wait_for_selector("#plot .main-svg")
    yield tab
    assert troubles == []
    context.close()


def test_the_divider_moves_by_key_and_pointer(tab):
    card = tab.locator(".card").nth(1)
    divider = card.locator("input.position")
    divider.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert divider.input_value() == "52"
    assert divider.get_attribute("aria-valuetext") == "52 % leech, 48 % WebP"
    assert divider.get_attribute("aria-label") == "Divider of b.png"
    card.locator(".slider").evaluate("slider => slider.scrollIntoView({ block: 'center' })")
    drag_divider(tab, card.locator(".slider"))
    assert float(divider.input_value()) == pytest.approx(75, abs=1)
    left = card.locator(".side.left")
    assert left.evaluate("side => getComputedStyle(side).clipPath") == "inset(0px 25% 0px 0px)"


def test_a_codec_and_a_rate_are_switched(tab, page):
    shown = {rate["target"]: rate["shown"] for rate in data_of(page)["images"][1]["rates"]}
    card = tab.locator(".card").nth(1)
    picture = card.locator(".side.right .shown")
    tab.get_by_label("Right").select_option("jpeg")
    assert picture.get_attribute("src") == shown[0.25]["jpeg"]["file"]
    tab.locator("#rate input").nth(1).focus()
    tab.keyboard.press("ArrowRight")
    entry = shown[0.5]["jpeg"]
    assert picture.get_attribute("src") == entry["file"]
    caption = card.locator(".caption.right").inner_text()
    assert HOSTILE in caption and f"{entry['bytes']:,} bytes" in caption and f"{entry['psnr']:.2f} dB" in caption
    assert f"{abs(entry['gap']):.1f} %" in caption
    assert card.locator("figure").count() == 3  # original, leech, JPEG
    tab.get_by_label("Left").select_option("original")
    assert card.locator("figure").count() == 2
    card.locator("summary").click()
    assert card.locator("tbody tr").count() == 3


def test_the_error_map_is_the_amplified_difference(tab, page):
    """What the browser paints, against numpy, to the bit."""
    if tab.phone:
        pytest.skip("one screen is enough")
    tab.locator("#zoom").select_option("1")
    tab.locator("#gain").select_option("8")
    card = tab.locator(".card").nth(1)
    pane = card.locator("figure").nth(2).locator(".errors")  # WebP's
    pane.scroll_into_view_if_needed()
    tab.wait_for_function("[...document.querySelectorAll('.card')[1].querySelectorAll('img')].every(i => i.complete)")
    image = data_of(page)["images"][1]
    pair = image["original"], image["rates"][1]["shown"]["webp"]["file"]
    a, b = (np.asarray(Image.open(page / name).convert("RGB")).astype(int) for name in pair)
    box, frame = (part.bounding_box() for part in (pane.locator(".shown"), pane))
    assert (box["width"], box["height"]) == (240, 180) and box["x"] >= frame["x"]  # all of it is in the pane
    seen = Image.open(io.BytesIO(tab.screenshot(clip=box))).convert("RGB")
    wanted = Image.fromarray((8 * abs(a - b)).clip(0, 255).astype(np.uint8))
    assert ImageChops.difference(seen, wanted).getbbox() is None


def test_a_crop_moves_by_key_and_stays_inside(tab):
    card = tab.locator(".card").nth(1)
    image = card.locator(".pane img").first
    tab.locator("#zoom").select_option("4")
    card.locator(".crops").focus()
    before = image.evaluate("image => image.style.transform")
    for _ in range(4):
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("ArrowRight")
    assert image.evaluate("image => image.style.transform") != before
    for _ in range(40):
        tab.keyboard.press("Shift+ArrowUp")
        tab.keyboard.press("Shift+ArrowLeft")
    assert image.evaluate("image => image.style.transform") == "scale(4) translate(0px, 0px)"


def test_an_image_can_be_gone_to_the_first_one_too(tab):
    jump = tab.get_by_label("Go to")
    for place in (1, 2, 1):
        jump.focus()
        jump.select_option(index=place)
        top = "id => Math.abs(document.getElementById(id).getBoundingClientRect().top)"
        tab.wait_for_function(f"{top} < 300", arg=f"image-{place}")
        jump.blur()
        assert jump.input_value() == ""


def test_curves_zoom_and_tell_their_values(tab):
    tab.locator("#range label").last.click()
    span = "document.getElementById('plot').layout.xaxis.range[1]"
    assert tab.evaluate(span) > 2
    tab.locator("#range label").first.click()
    assert tab.evaluate(span) == 0.5
    button = tab.locator("#legend button", has_text="JPEG").first
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert tab.evaluate("document.getElementById('plot').data.filter(trace => !trace.visible).length") == 1
    if not tab.phone:
        tab.locator("#range label").last.click()
        tab.locator("#plot").scroll_into_view_if_needed()
        box = tab.locator("#plot .scatterlayer .trace").last.locator(".point").nth(1).bounding_box()
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.wait_for_selector("#plot .hovertext")
        assert "leech q30" in tab.locator("#plot .hovertext").text_content()
        plot = tab.locator("#plot .nsewdrag").bounding_box()
        tab.mouse.move(plot["x"] + 50, plot["y"] + 50)
        tab.mouse.down()
        tab.mouse.move(plot["x"] + 350, plot["y"] + 250, steps=4)
        tab.mouse.up()
        tab.wait_for_function(f"{span} < 2")
        zoomed = tab.evaluate(span)
        button.hover()  # and it is drawn anew
        tab.wait_for_timeout(200)
        assert tab.evaluate(span) == zoomed
        tab.locator("#range label").first.click()
        assert tab.evaluate(span) == 0.5
    tab.locator("#values summary").click()
    assert "q30" in tab.locator("#values").inner_text()


def test_the_choice_of_codecs_is_for_curves_tables_and_pictures(tab):
    button = tab.locator("#legend button", has_text="WebP").first
    button.press("Enter")
    assert tab.evaluate("document.getElementById('plot').data.filter(trace => !trace.visible).length") == 1
    for section in ("#bd", "#speed"):
        shown = tab.locator(f"{section} tbody tr:not([hidden])")
        assert not any("WebP" in name for name in shown.locator("th").all_inner_texts())
    card = tab.locator(".card").first
    card.locator("summary").click()
    assert card.locator("tbody tr").count() == 2
    names = "select => [...select.options].map(option => option.textContent)"
    assert "WebP" not in tab.get_by_label("Left").evaluate(names)
    assert "WebP" in tab.get_by_label("Right").evaluate(names)  # it is what is shown there
    tab.locator("#legend button.all").first.press("Enter")
    assert tab.evaluate("document.getElementById('plot').data.filter(trace => trace.visible).length") == 2  # published
    tab.locator("#legend button.all").first.press("Enter")
    assert card.locator("tbody tr").count() == 3 and "WebP" in tab.get_by_label("Left").evaluate(names)


def test_the_page_never_scrolls_sideways(tab):
    for details in tab.locator("details").all():
        details.evaluate("details => { details.open = true; }")
    tab.wait_for_timeout(100)
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for table in tab.locator("table").all():  # the first column leaves room for another
        row = table.locator("tbody tr").first
        head, cell = (row.locator(kind).first.bounding_box() for kind in ("th", "td"))
        assert head["x"] + head["width"] <= cell["x"] + 1 and cell["x"] + cell["width"] <= tab.viewport_size["width"]


def test_everything_that_can_be_used_has_a_name_and_takes_the_focus(tab):
    unnamed = """[...document.querySelectorAll('input, select, button, [tabindex]')].filter(element =>
        !element.getAttribute('aria-label') && !element.labels?.length
        && !(element.matches('button') && element.textContent.trim())).length"""
    assert tab.evaluate(unnamed) == 0
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(60):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"zoom", "gain", "left", "right", "position", "place", "crops"} <= reached
