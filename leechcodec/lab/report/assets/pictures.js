// The picture section: one before/after slider, crops and error maps for every image.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const cards = document.getElementById("cards");
  if (!cards || !data.images.length) return;

  const ORIGINAL = "original";
  const names = new Map([[ORIGINAL, "Original"], ...data.codecs.map((codec) => [codec.key, codec.name])]);
  const peers = data.codecs.map((codec) => codec.key).filter((key) => key !== data.reference);
  const state = {
    rate: Math.min(1, data.rates.length - 1),
    left: data.reference,
    right: peers.includes(data.anchor) ? data.anchor : (peers[0] ?? ORIGINAL),
    view: "picture",
    zoom: 2,
    gain: 4,
    hidden: new Set(),
  };

  const byId = (id) => document.getElementById(id);

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  const known = (value) => value !== null && value !== undefined;
  const fixed = (value, digits, unit = "") => (known(value) ? value.toFixed(digits) + unit : "–");
  const bytes = (count) => count.toLocaleString("en") + " bytes";
  const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(1) + " %";

  // ---- controls -----------------------------------------------------------------------------------------------

  function segments(id, options, value, choose) {
    for (const [key, label] of options) {
      const input = element("input", { type: "radio", name: id, value: key, checked: key === value });
      input.addEventListener("change", () => choose(key));
      byId(id).append(element("label", {}, input, element("span", { textContent: label })));
    }
  }

  function selection(id, options, value, choose) {
    const select = byId(id);
    for (const [key, label] of options) select.append(new Option(label, key, false, key === value));
    select.addEventListener("change", () => choose(select.value));
  }

  /** Only what the choice of codecs shows, and what is shown already. */
  function offer(id) {
    const kept = options.filter(([key]) => key === state[id] || !state.hidden.has(key));
    byId(id).replaceChildren(...kept.map(([key, label]) => new Option(label, key, false, key === state[id])));
  }

  function set(name, value) {
    state[name] = value;
    for (const card of all) card.draw();
  }

  // ---- one image ----------------------------------------------------------------------------------------------

  class Card {
    constructor(image, number) {
      this.image = image;
      this.root = byId("card").content.cloneNode(true).firstElementChild;
      this.root.id = "image-" + (number + 1);
      this.part = (selector) => this.root.querySelector(selector);
      this.centre = [image.width / 2, image.height / 2];
      const size = element("small", { textContent: ` ${image.width} × ${image.height}` });
      this.part("h3").append(image.name, size);
      const slider = this.part(".slider");
      slider.style.aspectRatio = `${image.width} / ${image.height}`;
      // Never enlarged, and an upright picture never taller than the window.
      this.root.style.setProperty("--width", `min(100%, ${image.width}px, ${((85 * image.width) / image.height).toFixed(2)}vh)`);
      this.slide(slider);
      this.crop(this.part(".crops"));
      this.part(".place").addEventListener("change", () => this.goTo());
      this.part("details .scroll").setAttribute("aria-label", `All codecs on ${image.name}`);
    }

    entry(key) {
      return key === ORIGINAL ? null : (this.image.rates[state.rate].shown[key] ?? null);
    }

    /** The file that stands for a codec here; null where it has no picture. */
    file(key) {
      return key === ORIGINAL ? this.image.original : (this.entry(key)?.file ?? null);
    }

    slide(slider) {
      const input = this.part(".position");
      const move = () => {
        slider.style.setProperty("--position", input.value + "%");
        this.describe();
      };
      const follow = (event) => {
        const box = slider.getBoundingClientRect();
        input.value = Math.max(0, Math.min(100, (100 * (event.clientX - box.left)) / box.width));
        move();
      };
      input.addEventListener("input", move);
      slider.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        slider.setPointerCapture(event.pointerId);
        follow(event);
        input.focus({ preventScroll: true, focusVisible: false });
        event.preventDefault();
      });
      slider.addEventListener("pointermove", (event) => {
        if (slider.hasPointerCapture(event.pointerId)) follow(event);
      });
    }

    describe() {
      const input = this.part(".position");
      input.setAttribute("aria-label", `Divider of ${this.image.name}`);
      const share = Math.round(input.value);
      input.setAttribute("aria-valuetext",
        `${share} % ${names.get(state.left)}, ${100 - share} % ${names.get(state.right)}`);
    }

    crop(crops) {
      crops.setAttribute("aria-label", `Crop of ${this.image.name}; the arrow keys move it`);
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      crops.addEventListener("keydown", (event) => {
        const step = steps[event.key];
        if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        const by = (event.shiftKey ? 64 : 16) / state.zoom;
        this.moveTo(this.centre[0] + step[0] * by, this.centre[1] + step[1] * by);
      });
      let from = null;
      crops.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || !event.target.closest(".pane")) return;
        crops.setPointerCapture(event.pointerId);
        from = [event.clientX, event.clientY, ...this.centre];
      });
      crops.addEventListener("pointermove", (event) => {
        if (!from || !crops.hasPointerCapture(event.pointerId)) return;
        this.moveTo(from[2] - (event.clientX - from[0]) / state.zoom, from[3] - (event.clientY - from[1]) / state.zoom);
      });
      for (const end of ["pointerup", "pointercancel"]) crops.addEventListener(end, () => { from = null; });
      new ResizeObserver(() => this.place()).observe(crops);
    }

    moveTo(x, y) {
      this.centre = [x, y];
      this.place();
    }

    /** The places worth a look; the two comparative ones belong to the peer that is shown. */
    places() {
      const { image } = this;
      const rate = image.rates[state.rate];
      const peer = [state.right, state.left].find((key) => key !== ORIGINAL && key !== data.reference);
      const found = this.entry(peer ?? ORIGINAL);
      const ours = names.get(data.reference);
      return [
        rate.worst && ["worst", `largest error of ${ours}`, rate.worst],
        image.detail && ["detail", "most detail", image.detail],
        found?.gains && ["gains", `${ours} gains most on ${names.get(peer)}`, found.gains],
        found?.loses && ["loses", `${ours} loses most to ${names.get(peer)}`, found.loses],
        ["centre", "centre", [image.width / 2, image.height / 2]],
      ].filter(Boolean);
    }

    goTo() {
      const chosen = this.places().find(([key]) => key === this.part(".place").value);
      if (chosen) this.moveTo(...chosen[2]);
    }

    draw() {
      this.drawSides();
      this.drawCrops();
      const select = this.part(".place");
      const before = select.value || "worst";
      const places = this.places();
      const kept = places.some(([key]) => key === before) ? before : places[0][0];
      select.replaceChildren(...places.map(([key, label]) => new Option(label, key, false, key === kept)));
      if (this.drawn !== `${kept} ${state.rate} ${state.left} ${state.right}`) this.goTo();
      this.drawn = `${kept} ${state.rate} ${state.left} ${state.right}`;
      this.place();
      this.drawTable();
      this.describe();
    }

    drawSides() {
      const errors = state.view === "errors";
      for (const side of ["left", "right"]) {
        const box = this.part(`.side.${side}`);
        box.classList.toggle("errors", errors);
        box.style.setProperty("--gain", state.gain);
        const file = this.file(state[side]);
        show(box.querySelector(".original"), errors && file ? this.image.original : null, "");
        show(box.querySelector(".shown"), file,
          `${this.image.name}, ${errors ? "error of " : ""}${names.get(state[side])}`);
        this.part(`.caption.${side}`).replaceChildren(...this.caption(state[side]));
      }
    }

    caption(key) {
      const title = element("b", { textContent: names.get(key) });
      if (key === ORIGINAL) return [title, facts([bytes(this.image.bytes)])];
      const entry = this.entry(key);
      if (!entry) return [title, facts(["not measured"])];
      const known = [bytes(entry.bytes), fixed(entry.bpp, 3, " bpp"), ...measures(entry)];
      const gap = size(entry, key);
      return [title, ` ${entry.setting}`, ...(gap ? [element("br"), gap] : []), facts(known)];
    }

    drawCrops() {
      const keys = [...new Set([ORIGINAL, state.left, state.right])];
      this.part(".crops").replaceChildren(...keys.map((key) => {
        const picture = element("div", { className: "pane" });
        picture.append(this.layer(key, "shown", `Crop of ${this.image.name}, ${names.get(key)}`));
        if (key === ORIGINAL) {
          const legend = element("div", { className: "pane legend" }, `Error maps: |decoded − original| × ${state.gain}, black where there is none`);
          return element("figure", {}, caption(element("b", { textContent: "Original" })), picture, legend);
        }
        const title = element("b", { textContent: names.get(key) });
        const entry = this.entry(key);
        if (!entry?.file) {
          return element("figure", {}, caption(title), element("div", { className: "pane legend" }, "no picture"));
        }
        const errors = element("div", { className: "pane errors" });
        errors.style.setProperty("--gain", state.gain);
        errors.append(this.layer(ORIGINAL, "original", ""), this.layer(key, "shown", `Error of ${names.get(key)}`));
        const known = [bytes(entry.bytes), fixed(entry.bpp, 3, " bpp"), fixed(entry.psnr, 2, " dB")];
        return element("figure", {}, caption(title, facts(known)), picture, errors);
      }));
    }

    layer(key, className, alt) {
      const image = element("img", { className, loading: "lazy", draggable: false });
      image.width = this.image.width;
      image.height = this.image.height;
      show(image, this.file(key), alt);
      return image;
    }

    /** Put every crop, and the frame on the slider, where the centre is. */
    place() {
      const pane = this.part(".pane");
      if (!pane || !pane.clientWidth) return;
      const { width, height } = this.image;
      const wide = pane.clientWidth / state.zoom;
      const high = pane.clientHeight / state.zoom;
      const x = within(this.centre[0] - wide / 2, width - wide);
      const y = within(this.centre[1] - high / 2, height - high);
      this.centre = [x + wide / 2, y + high / 2];
      const transform = `scale(${state.zoom}) translate(${-Math.round(x)}px, ${-Math.round(y)}px)`;
      for (const image of this.root.querySelectorAll(".pane img")) image.style.transform = transform;
      const percent = (part, whole) => `${(100 * part) / whole}%`;
      const left = Math.max(0, x);
      const top = Math.max(0, y);
      Object.assign(this.part(".region").style, {
        left: percent(left, width), top: percent(top, height),
        width: percent(Math.min(wide, width - left), width), height: percent(Math.min(high, height - top), height),
      });
    }

    drawTable() {
      const head = ["Codec", "Setting", "Bytes", `Against ${names.get(data.reference)}`, "bpp", "PSNR, dB", "MS-SSIM", "SSIM", "SSIMULACRA2", "LPIPS", "Encode, s", "Decode, s"];
      const rows = data.codecs.filter(({ key }) => this.entry(key) && !state.hidden.has(key)).map(({ key, name }) => {
        const entry = this.entry(key);
        const cells = [entry.setting, entry.bytes.toLocaleString("en"), key === data.reference ? "" : signed(entry.gap), fixed(entry.bpp, 4),
          fixed(entry.psnr, 2), fixed(entry.ms_ssim, 4), fixed(entry.ssim, 4), fixed(entry.ssimulacra2, 1), fixed(entry.lpips, 4), fixed(entry.encode_s, 3), fixed(entry.decode_s, 3)];
        const row = element("tr", { className: key === data.reference ? "reference" : "" }, element("th", { scope: "row", textContent: name }));
        row.append(...cells.map((text) => element("td", { textContent: text })));
        return row;
      });
      const top = element("tr", {}, ...head.map((text) => element("th", { scope: "col", textContent: text })));
      this.part("details .scroll").replaceChildren(element("table", {}, element("thead", {}, top), element("tbody", {}, ...rows)));
    }
  }

  /** Clamped to 0…limit; centred where the picture is smaller than the crop. */
  function within(value, limit) {
    return limit < 0 ? limit / 2 : Math.max(0, Math.min(limit, value));
  }

  function show(image, file, alt) {
    image.alt = alt;
    image.hidden = !file;
    if (file && image.getAttribute("src") !== file) image.src = file;
  }

  function caption(...children) {
    return element("figcaption", {}, ...children);
  }

  function measures(entry) {
    return [
      fixed(entry.psnr, 2, " dB"),
      known(entry.ms_ssim) ? `MS-SSIM ${fixed(entry.ms_ssim, 4)}` : null,
      known(entry.ssim) ? `SSIM ${fixed(entry.ssim, 4)}` : null,
      known(entry.ssimulacra2) ? `SSIMULACRA2 ${fixed(entry.ssimulacra2, 1)}` : null,
      known(entry.lpips) ? `LPIPS ${fixed(entry.lpips, 3)}` : null,
    ].filter(known);
  }

  function facts(texts) {
    return element("span", { className: "facts" }, ...texts.map((text) => element("span", { textContent: text })));
  }

  /** How far a peer's file is from ours; a difference that spoils the comparison stands out. */
  function size(entry, key) {
    if (key === data.reference) return null;
    const far = Math.abs(entry.gap) > 10;
    const text = `${signed(entry.gap)} size${far ? ", too far to compare" : ""}`;
    return element("span", { className: far ? "far" : "", textContent: text });
  }

  const all = data.images.map((image, number) => new Card(image, number));
  const options = [...names];
  segments("rate", data.rates.map((rate, index) => [index, String(rate)]), state.rate, (key) => set("rate", key));
  segments("view", [["picture", "Picture"], ["errors", "Error"]], state.view, (key) => set("view", key));
  selection("left", options, state.left, (key) => set("left", key));
  selection("right", options, state.right, (key) => set("right", key));
  const places = data.images.map((image, index) => [`image-${index + 1}`, image.name]);
  selection("jump", [["", "an image …"], ...places], "", (id) => byId(id || "cards").scrollIntoView());
  byId("jump").addEventListener("blur", () => { byId("jump").value = ""; }); // so that an image can be gone to again
  for (const name of ["zoom", "gain"]) byId(name).addEventListener("change", (event) => set(name, Number(event.target.value)));
  document.addEventListener("codecs", (event) => {
    set("hidden", event.detail);
    for (const id of ["left", "right"]) offer(id);
  });
  cards.append(...all.map((card) => card.root));
  for (const card of all) card.draw();
})();
