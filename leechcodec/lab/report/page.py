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
from leechcodec.lab.bdrate import Delta, bd_table, find_anchor
from leechcodec.lab.curves import LPIPS, MEASURES, Curve, measured
from leechcodec.lab.results import Results

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
    curves = [*map(measured, results), *published]
    dataset = Path(results[0].dataset).name
    headline, table = _bd(curves, anchor)
    page = _template("page.html").substitute(
        generator=f"leechcodec {__version__}",
        title=_text(f"leechcodec on {dataset}" if dataset else "leechcodec"),
        headline=f"<p>{_what(results)} {headline}</p>",
        warnings=_warnings(messages),
        curves_note=_curves_note(published),
        bd=table,
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
    write_atomic(index, page.encode(), force=True)
    return index


# ---- data for the scripts -------------------------------------------------------------------------------------


def _data(results: Sequence[Results], curves: Sequence[Curve], pictures: list[dict], anchor: str) -> dict:
    shown = {key for picture in pictures for rate in picture["rates"] for key in rate["shown"]}
    settings = {id(curve): result.settings for curve, result in zip(curves, results)}
    return {
        "metrics": [
            {"key": metric, "name": facts.name, "label": facts.label, "unit": facts.unit, "digits": facts.digits}
            for metric, facts in MEASURES.items()
            if any(curve.points(metric)[0] for curve in curves)
        ],
        "curves": [_curve(curve, settings.get(id(curve), ())) for curve in curves],
        "codecs": [{"key": result.codec, "name": result.name} for result in results if result.codec in shown],
        "reference": results[0].codec,
        "anchor": anchor,
        "rates": [rate["target"] for rate in pictures[0]["rates"]] if pictures else [],
        "images": pictures,
    }


def _curve(curve: Curve, settings: Sequence[str]) -> dict:
    points = {}
    labels = settings if len(settings) == len(curve.bpp) else [""] * len(curve.bpp)
    for metric in MEASURES:
        kept = [point for point in zip(curve.bpp, curve.values(metric), labels) if point[1] is not None]
        if kept:
            points[metric] = dict(zip(("bpp", "values", "labels"), zip(*kept)))
    return {"name": curve.name, "published": curve.published, "points": points}


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
    ours = [(metric, delta) for metric in MEASURES for delta in deltas[metric] if delta.name == curves[0].name]
    parts = [
        f"<b>{abs(delta.rate):.1f} % {'fewer' if delta.rate < 0 else 'more'}</b> bits at equal {MEASURES[metric].name}"
        for metric, delta in ours
        if delta.rate is not None and not delta.published
    ]
    sentence = f"Against {_text(base.name)}, {_text(curves[0].name)} needs {', '.join(parts)}." if parts else ""
    return sentence, _bd_table(curves, base, deltas)


def _bd_table(curves: Sequence[Curve], base: Curve, deltas: dict[str, list[Delta]]) -> str:
    """Measured curves first, each kind from the smallest rate in the first metric."""
    known = {(curve.published, curve.name, metric) for curve in curves for metric in deltas if curve.points(metric)[0]}
    by_curve: dict[tuple[bool, str], dict[str, str]] = {}
    for metric, column in deltas.items():
        for delta in column:
            curve = (delta.published, delta.name)
            cell = _bd_cell(metric, delta) if (*curve, metric) in known else '<td class="missing">–</td>'
            by_curve.setdefault(curve, {})[metric] = cell
    rows = []
    for (published, name), cells in sorted(by_curve.items(), key=lambda item: item[0][0]):
        title = _text(name) + (" <small>as published</small>" if published else "")
        rows.append(f'<tr><th scope="row">{title}</th>{"".join(cells[metric] for metric in deltas)}</tr>')
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


def _curves_note(published: Sequence[Curve]) -> str:
    note = (
        "Means over the images, one point a setting. Hover or tap for values, drag to zoom with a mouse, double-click "
    )
    note += "for the whole; the legend switches curves."
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
        rates = result.results["bpp"]
        model = {key: value for key, value in (result.model or {}).items() if key in MODEL_FACTS}
        cells = [
            f'<th scope="row">{_text(result.name)}</th>',
            f"<td>{len(rates)}</td><td>{min(rates):.3f} – {max(rates):.3f}</td>",
            f"<td>{_mean(result.results['encoding_time'])}</td><td>{_mean(result.results['decoding_time'])}</td>",
            f'<td class="long">{_text(result.description)}</td>',
            f'<td class="long">{_facts(result.versions)}</td>',
            f'<td class="long">{_facts(model)}</td>',
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = ("Codec", "Points", "bpp", "Encode, s", "Decode, s", "Description", "Versions", "Model")
    notes = ["Seconds are means over images and settings."]
    notes += [f"Machine: {text}." for text in dict.fromkeys(_facts(result.machine) for result in results) if text]
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


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{math.fsum(known) / len(known):.3f}" if known else "–"


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
