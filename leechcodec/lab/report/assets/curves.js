// The curves: Plotly draws them; controls and legend are plain HTML, so that keyboard and screen reader reach them.
"use strict";

(() => {
  const { metrics, curves } = JSON.parse(document.getElementById("report-data").textContent);
  const plot = document.getElementById("plot");
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star"];
  const SIGNS = ["●", "■", "◆", "▲", "▼", "✚", "✖", "★"];
  const DASHES = ["dash", "dot", "dashdot", "longdash"];
  const PATTERNS = { solid: "", dash: "6 4", dot: "2 3", dashdot: "6 3 2 3", longdash: "10 4" };
  const coarse = matchMedia("(pointer: coarse)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 44rem)");
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly reads a small HTML in its texts; entities make names from files plain text.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const COLOURS = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12];
  // Marker and dash tell curves apart without colour; published ones are grey, so that the measured stand out.
  const counts = [0, 0];
  for (const curve of curves) {
    const index = counts[Number(curve.published)]++;
    curve.colour = `--c${curve.published ? 7 : COLOURS[index % COLOURS.length]}`;
    curve.symbol = index % SYMBOLS.length;
    curve.dash = curve.published ? DASHES[(index + Math.floor(index / SYMBOLS.length)) % DASHES.length] : "solid";
    curve.lines = Object.values(curve.points).some((points) => points.bpp.length > 1);
    curve.visible = true;
  }
  curves.sort((one, other) => Number(one.published) - Number(other.published));
  const highest = Math.max(...curves.flatMap((curve) => Object.values(curve.points).flatMap((points) => points.bpp)), 0);
  const ranges = [0.5, 1, 2].filter((limit) => limit < highest).map((limit) => [limit, String(limit)]);
  ranges.push([Infinity, "all"]);
  const ours = curves[0]?.points[metrics[0]?.key]?.bpp ?? [];
  const switches = [];
  const state = { metric: metrics[0], limit: (ranges.find(([limit]) => limit >= Math.max(...ours, 0)) ?? ranges[0])[0], marked: null };

  function traces() {
    const drawn = curves.filter((curve) => curve.points[state.metric.key]);
    // Plotly paints in order: published below, measured above them, this codec and what the legend points at on top.
    const order = (curve) => (curve === state.marked ? 3 : curve === curves[0] ? 2 : curve.published ? 0 : 1);
    return drawn.sort((one, other) => order(one) - order(other)).map((curve) => {
      const points = curve.points[state.metric.key];
      const marked = curve === state.marked;
      const colour = style(marked ? "--ink" : curve.colour);
      const measured = !curve.published;
      const value = `%{y:.${state.metric.digits}f}${state.metric.unit && " " + state.metric.unit}`;
      return {
        type: "scatter",
        mode: points.bpp.length > 1 ? "lines+markers" : "markers",
        name: plain(curve.name),
        x: points.bpp,
        y: points.values,
        text: points.labels.map(plain),
        visible: curve.visible,
        line: { color: colour, dash: curve.dash, width: marked || curve === curves[0] ? 3.5 : measured ? 2 : 1 },
        marker: {
          color: measured ? colour : style("--paper"),
          symbol: SYMBOLS[curve.symbol],
          size: measured || marked ? 8 : 5,
          line: { color: colour, width: 1 },
        },
        opacity: measured || marked ? 1 : 0.75,
        hovertemplate: `<b>${plain(curve.name)}</b> %{text}<br>%{x:.4f} bpp<br>${value}<extra></extra>`,
      };
    });
  }

  function layout() {
    const [low, high] = span();
    const grid = { gridcolor: style("--line"), linecolor: style("--line"), zeroline: false, fixedrange: coarse.matches };
    return {
      font: { family: "system-ui, sans-serif", size: narrow.matches ? 12 : 13, color: style("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: narrow.matches ? { l: 44, r: 8, t: 8, b: 44 } : { l: 60, r: 16, t: 12, b: 48 },
      uirevision: `${state.metric.key} ${state.limit}`, // until these change, what was zoomed to stays
      showlegend: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: style("--raised"), bordercolor: style("--line"), font: { color: style("--ink") }, align: "left" },
      dragmode: coarse.matches ? false : "zoom",
      xaxis: { ...grid, title: { text: "bits per pixel" }, range: [0, Math.min(state.limit, highest * 1.03)] },
      yaxis: { ...grid, title: { text: narrow.matches ? "" : state.metric.label }, range: [low, high] },
    };
  }

  /** The vertical range of what is shown left of the limit. */
  function span() {
    const seen = curves.filter((curve) => curve.visible && curve.points[state.metric.key]).flatMap((curve) => {
      const points = curve.points[state.metric.key];
      return points.values.filter((_, index) => points.bpp[index] <= state.limit);
    });
    if (!seen.length) return [0, 1];
    const high = Math.max(...seen);
    // Below a score of 0 pictures are too poor for their order to matter.
    const low = state.metric.key === "ssimulacra2" && high > 0 ? Math.max(0, Math.min(...seen)) : Math.min(...seen);
    const room = (high - low || 1) * 0.06;
    return [low - room, high + room];
  }

  function draw() {
    for (const curve of curves) curve.button.hidden = !curve.points[state.metric.key];
    plot.setAttribute("aria-label", `${state.metric.label} against bits per pixel; the values are in the table below`);
    if (!window.Plotly) {
      plot.textContent = "The plotting library could not be loaded; the values are in the table below.";
      plot.style.height = "auto";
      return;
    }
    window.Plotly.react(plot, traces(), layout(), { displayModeBar: false, responsive: true, doubleClick: "reset" });
  }

  function segments(id, options, value, choose) {
    for (const [key, label] of options) {
      const input = Object.assign(document.createElement("input"), { type: "radio", name: id, checked: key === value });
      input.addEventListener("change", () => choose(key));
      const holder = document.createElement("label");
      const text = Object.assign(document.createElement("span"), { textContent: label });
      holder.append(input, text);
      document.getElementById(id).append(holder);
    }
  }

  function swatch(curve) {
    const image = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const sign = document.createElementNS("http://www.w3.org/2000/svg", "text");
    for (const [key, value] of Object.entries({ width: 30, height: 14, "aria-hidden": "true" })) image.setAttribute(key, value);
    for (const [key, value] of Object.entries({ x1: 0, x2: 30, y1: 7, y2: 7, "stroke-width": 2, "stroke-dasharray": PATTERNS[curve.dash] })) line.setAttribute(key, value);
    for (const [key, value] of Object.entries({ x: 15, y: 11.5, "text-anchor": "middle", "font-size": 12 })) sign.setAttribute(key, value);
    line.style.stroke = `var(${curve.colour})`;
    sign.style.fill = `var(${curve.colour})`;
    sign.textContent = SIGNS[curve.symbol];
    if (curve.lines) image.append(line);
    image.append(sign);
    return image;
  }

  function legend() {
    const box = document.getElementById("legend");
    for (const published of [false, true]) {
      const members = curves.filter((curve) => curve.published === published);
      if (!members.length) continue;
      const group = document.createElement("details");
      group.open = !published || !narrow.matches;
      const title = document.createElement("summary");
      title.textContent = published ? "As published" : "Measured here";
      const row = document.createElement("div");
      row.append(switchAll(members), ...members.map(toggle));
      group.append(title, row);
      box.append(group);
    }
  }

  /** A button that shows and hides a curve, and brings it out while it is pointed at or has the focus. */
  function toggle(curve) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(swatch(curve), curve.name);
    button.setAttribute("aria-pressed", curve.visible);
    button.addEventListener("click", () => {
      curve.visible = !curve.visible;
      chosen();
    });
    curve.button = button;
    const mark = (value) => () => {
      if (state.marked === value) return;
      state.marked = value;
      if (curve.visible) draw();
    };
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, mark(curve));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, mark(null));
    return button;
  }

  function switchAll(members) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "all", textContent: "Hide all" });
    button.addEventListener("click", () => {
      const visible = !members.some((curve) => curve.visible);
      for (const curve of members) curve.visible = visible;
      chosen();
    });
    switches.push(() => { button.textContent = members.some((curve) => curve.visible) ? "Hide all" : "Show all"; });
    return button;
  }

  /** The choice of codecs, for the curves, the tables and the pictures. */
  function chosen() {
    for (const curve of curves) curve.button.setAttribute("aria-pressed", curve.visible);
    for (const update of switches) update();
    const hidden = new Set(curves.filter((curve) => !curve.visible).map((curve) => curve.key));
    for (const row of document.querySelectorAll("[data-codec]")) row.hidden = hidden.has(row.dataset.codec);
    draw();
    values();
    document.dispatchEvent(new CustomEvent("codecs", { detail: hidden }));
  }

  function values() {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const text of ["Curve", "Setting", "bpp", state.metric.label]) {
      head.append(Object.assign(document.createElement("th"), { scope: "col", textContent: text }));
    }
    const body = table.createTBody();
    for (const curve of curves.filter((curve) => curve.visible)) {
      const points = curve.points[state.metric.key];
      points?.bpp.forEach((bpp, index) => {
        const row = body.insertRow();
        row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: curve.published ? `${curve.name} (published)` : curve.name }));
        for (const text of [points.labels[index], bpp.toFixed(4), points.values[index].toFixed(state.metric.digits)]) row.insertCell().textContent = text;
      });
    }
    document.querySelector("#values .scroll").replaceChildren(table);
  }

  segments("metric", metrics.map((metric) => [metric, metric.name]), state.metric, (metric) => {
    state.metric = metric;
    draw();
    values();
  });
  segments("range", ranges, state.limit, (limit) => {
    state.limit = limit;
    draw();
  });
  if (!metrics.length) return;
  legend();
  values();
  draw();
  for (const query of [dark, coarse, narrow]) query.addEventListener("change", draw);
})();
