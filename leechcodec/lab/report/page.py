"""The report's page: the numbers as JSON for the scripts, the tables as HTML, the assets beside it.

Everything that comes from a file is escaped: in HTML by html.escape, in the JSON by writing <, > and & as escapes.
The scripts put texts on the page as texts only.
"""

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template

from leechcodec import __version__
from leechcodec.errors import LqError
from leechcodec.formats.files import write_atomic
from leechcodec.formats.packages import require
from leechcodec.lab.bdrate import Delta, bd_groups, bd_table, find_anchor
from leechcodec.lab.curves import LPIPS, MEASURES, Curve, measured, over_common_images
from leechcodec.lab.results import Results, kind_of
from leechcodec.lab.summary import HEADER, cells, summary

ASSETS = Path(__file__).parent / "assets"
COPIED = ("report.css", "pictures.js", "curves.js")
MODEL_FACTS = ("name", "token_model", "synthesis", "weights_sha256", "weights")
"""Of a learned codec's model; never where it lies on the disk."""


def write_page(
    results: Sequence[Results],
    published: Sequence[Curve],
    pictures: list[dict],
    out: Path,
    anchor: str,
    messages: Sequence[str],
) -> Path:
    """Write index.html and assets/ into the folder out; returns the path of index.html."""
    compared, note = over_common_images(results)
    messages = [*messages, *([note] if note else [])]
    curves = [*map(measured, compared), *published]
    dataset = Path(results[0].dataset).name
    headline, table = _bd(curves, anchor)
    page = _template("page.html").substitute(
        generator=f"leechcodec {__version__}",
        title=_text(f"leechcodec on {dataset}" if dataset else "leechcodec"),
        headline=f"<p>{_what(compared)} {headline}</p>",
        warnings=_warnings(messages),
        curves_note=_curves_note(published),
        bd=table + _kinds(results, curves, anchor),
        speed=_speed(compared),
        pictures=_pictures(results, pictures),
        runs=_runs(results),
        data=_json(_data(results, curves, pictures, anchor)),
    )
    assets = out / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        write_atomic(assets / name, (ASSETS / name).read_bytes(), force=True)
    write_atomic(assets / "plotly.min.js", require("plotly.offline").get_plotlyjs().encode(), force=True)
    index = out / "index.html"
    write_atomic(index, page.encode("utf-8", "backslashreplace"), force=True)  # names of files
    return index


# ---- data for the scripts -------------------------------------------------------------------------------------


def _data(results: Sequence[Results], curves: Sequence[Curve], pictures: list[dict], anchor: str) -> dict:
    shown = {key for picture in pictures for rate in picture["rates"] for key in rate["shown"]}
    return {
        "metrics": [
            {"key": metric, "name": facts.name, "label": facts.label, "unit": facts.unit, "digits": facts.digits}
            for metric, facts in MEASURES.items()
            if any(curve.points(metric)[0] for curve in curves)
        ],
        "curves": [_curve(curve) for curve in curves],
        "codecs": [{"key": result.codec, "name": result.name} for result in results if result.codec in shown],
        "reference": results[0].codec,
        "anchor": _anchor(curves, anchor),
        "rates": [rate["target"] for rate in pictures[0]["rates"]] if pictures else [],
        "images": pictures,
    }


def _anchor(curves: Sequence[Curve], anchor: str) -> str:
    """The key of the codec that is meant; empty where it is a published curve, or none, which have no pictures."""
    try:
        base = find_anchor(curves, anchor)
    except LqError:
        return ""  # the page says it
    return "" if base.published else base.key


def _curve(curve: Curve) -> dict:
    points = {}
    labels = curve.settings or ("",) * len(curve.bpp)
    for metric in MEASURES:
        kept = [(rate, value, labels[place]) for place, rate, value in curve.numbered_points(metric)]
        if kept:
            points[metric] = dict(zip(("bpp", "values", "labels"), zip(*kept)))
    return {"key": _key(curve.published, curve.key), "name": curve.name, "published": curve.published, "points": points}


def _json(data: object) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(data: object) -> object:
    """The same with None for numbers that JSON does not know."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


# ---- fragments of HTML ----------------------------------------------------------------------------------------


def _what(results: Sequence[Results]) -> str:
    count = len({row.image for result in results for row in result.images})
    *most, last = [_text(result.name) for result in results]
    names = f"{', '.join(most)} and {last}" if most else last
    return f"{names} on {count} image{'s' * (count != 1)}, through real files, every byte counted."


def _bd(curves: Sequence[Curve], anchor: str) -> tuple[str, str]:
    """A sentence on the first curve, and the table of all."""
    try:
        base = find_anchor(curves, anchor)
        deltas = {metric: bd_table(curves, base, metric) for metric in MEASURES}
    except LqError as error:
        return "", f'<p class="missing">No BD-rates: {_text(error)}.</p>'
    ours = [(metric, delta) for metric in MEASURES for delta in deltas[metric] if delta.key == curves[0].key]
    parts = [
        f"<b>{abs(delta.rate):.1f} % {'fewer' if delta.rate < 0 else 'more'}</b> bits at equal {MEASURES[metric].name}"
        for metric, delta in ours
        if delta.rate is not None and not delta.published
    ]
    sentence = f"Against {_text(base.name)}, {_text(curves[0].name)} needs {', '.join(parts)}." if parts else ""
    return sentence, _bd_table(curves, base, deltas)


def _bd_table(curves: Sequence[Curve], base: Curve, deltas: dict[str, list[Delta]]) -> str:
    """Measured curves first, each kind from the smallest rate in the first metric."""
    names = {(curve.published, curve.key): curve.name for curve in curves}
    known = {(curve.published, curve.key, metric) for curve in curves for metric in deltas if curve.points(metric)[0]}
    by_curve: dict[tuple[bool, str], dict[str, str]] = {}
    for metric, column in deltas.items():
        for delta in column:
            curve = (delta.published, delta.key)
            cell = _bd_cell(metric, delta) if (*curve, metric) in known else '<td class="missing">–</td>'
            by_curve.setdefault(curve, {})[metric] = cell
    rows = []
    for (published, key), found in sorted(by_curve.items(), key=lambda item: item[0][0]):
        title = _text(names[published, key]) + (" <small>as published</small>" if published else "")
        row = "".join(found[metric] for metric in deltas)
        rows.append(f'<tr data-codec="{_text(_key(published, key))}"><th scope="row">{title}</th>{row}</tr>')
    note = (
        f'<p class="note">Mean change of the rate at equal quality against {_text(base.name)}, over the qualities '
        "that both curves reach; below zero: smaller files.</p>"
    )
    return note + _table(("Codec", *(MEASURES[metric].name for metric in deltas)), rows, "BD-rates", "bd")


def _bd_cell(metric: str, delta: Delta) -> str:
    if delta.rate is None:
        return f'<td class="missing">{_text(delta.reason)}</td>'
    digits, unit = (3, "") if metric == LPIPS else (1, MEASURES[metric].unit)
    over = f"{delta.low:.{digits}f} – {delta.high:.{digits}f} {unit}".rstrip()
    rate = f"{delta.rate:+.1f} %".replace("-", "−")
    return f"<td><b>{rate}</b><small>{over}</small></td>"


def _kinds(results: Sequence[Results], curves: Sequence[Curve], anchor: str) -> str:
    """The first codec's BD-rates on each kind of images, where there are several."""
    if len({kind_of(row.image) for row in results[0].images}) < 2:
        return ""
    try:
        base = find_anchor(curves, anchor)
        if base.published or base.key == results[0].codec:
            return ""
        pair = [results[0], *(each for each in results if each.codec == base.key)]
        groups = {metric: dict(bd_groups(pair, base.key, metric, "kind")[:-1]) for metric in MEASURES}
    except LqError:
        return ""  # the table above says it
    kinds = sorted(next(iter(groups.values())))  # those that both codecs have
    rows = [
        f'<tr><th scope="row">{_text(kind)}</th>'
        + "".join(_bd_cell(metric, group[kind][0]) for metric, group in groups.items())
        + "</tr>"
        for kind in kinds
    ]
    note = f'<p class="note">{_text(results[0].name)} against {_text(base.name)} on each kind of images.</p>'
    return note + _table(("Kind", *(facts.name for facts in MEASURES.values())), rows, "BD-rates by kind", "bd")


def _speed(results: Sequence[Results]) -> str:
    rows = []
    for result in results:
        head, *rest = cells(summary(result))
        row = "".join(f"<td>{_text(cell)}</td>" for cell in rest)
        rows.append(f'<tr data-codec="{_text(result.codec)}"><th scope="row">{_text(head)}</th>{row}</tr>')
    heads = [head[:1].upper() + head[1:] for head in HEADER]
    notes = "Seconds per million pixels are of the call alone, over the whole dial."
    for result in results:
        if result.process:
            notes += " A process is one image's, from its start to its end, imports and models included."
            break
    return f'<p class="note">{notes}</p>' + _table(heads, rows, "Range and speed", "speed")


def _key(published: bool, key: str) -> str:
    """What the choice of codecs knows a curve by: a published one may have a measured one's name."""
    return f"published {key}" if published else key


def _curves_note(published: Sequence[Curve]) -> str:
    note = (
        "Means over the images, one point a setting. Hover or tap for values, drag to zoom with a mouse, double-click "
    )
    note += "for the whole. The list beside the curves chooses codecs, for the tables and pictures too."
    return note + " Dashed grey curves are drawn as published, not measured here." if published else note


def _pictures(results: Sequence[Results], pictures: list[dict]) -> str:
    if not pictures:
        return '<p class="missing">No picture can be shown.</p>'
    note = (
        f"For every image the file of {_text(results[0].name)} nearest the chosen rate, and of every other codec the "
        "file nearest to it in size. Drag the divider, or focus it and use the arrow keys."
    )
    return _template("pictures.html").substitute(note=note)


def _runs(results: Sequence[Results]) -> str:
    rows = []
    for result in results:
        model = {key: value for key, value in (result.model or {}).items() if key in MODEL_FACTS}
        facts = [
            f'<th scope="row">{_text(result.name)}</th>',
            f"<td>{len(result.settings)}</td>",
            f'<td class="long">{_text(result.description)}</td>',
            f'<td class="long">{_facts(result.versions)}</td>',
            f'<td class="long">{_facts(model)}</td>',
        ]
        rows.append(f"<tr>{''.join(facts)}</tr>")
    heads = ("Codec", "Points", "Description", "Versions", "Model")
    notes = [f"Machine: {text}." for text in dict.fromkeys(_facts(result.machine) for result in results) if text]
    for result in results:
        notes += [f"{_text(result.name)} without {_text(gap.image)}: {_text(gap.reason)}." for gap in result.skipped]
    return _table(heads, rows, "What was run", "runs") + "".join(f'<p class="note">{note}</p>' for note in notes)


def _table(heads: Sequence[str], rows: Sequence[str], label: str, kind: str) -> str:
    """A table in a box that scrolls by itself, so that the page never has to."""
    top = "".join(f'<th scope="col">{_text(head)}</th>' for head in heads)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{_text(label)}"><table class="{kind}">'
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _warnings(messages: Sequence[str]) -> str:
    if not messages:
        return ""
    items = "".join(f"<li>{_text(message)}</li>" for message in messages)
    return f'<div class="warnings" role="note"><p>Warnings of this run:</p><ul>{items}</ul></div>'


def _facts(facts: dict) -> str:
    """The plain values of a JSON object as text; hashes shortened."""
    plain = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
    short = {
        key: value[:12] + "…" if isinstance(value, str) and len(value) > 60 else value for key, value in plain.items()
    }
    return ", ".join(f"{_text(key.replace('_', ' '))} {_text(value)}" for key, value in short.items())


def _text(value: object) -> str:
    return html.escape(str(value))


def _template(name: str) -> Template:
    return Template((ASSETS / name).read_text(encoding="utf-8"))
