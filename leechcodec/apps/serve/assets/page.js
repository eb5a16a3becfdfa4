// The page: a file comes in, the dial asks for pictures, the other codecs follow when it rests.

import { ask, Refusal } from "./api.js";
import { Slider } from "./slider.js";

const settings = JSON.parse(document.body.dataset.settings);
const OURS = "leechcodec";
const ORIGINAL = "original";
const names = new Map([[OURS, "leechcodec"], [ORIGINAL, "Original"], ...settings.peers]);
const PAUSE = 150; // ms without a move of the dial before a drag asks for a picture

const byId = (id) => document.getElementById(id);
const quality = byId("quality");
const number = byId("number");
const other = byId("other");
const slider = new Slider();

/**
 * What is on the page. file: the File. id: the server's. asked: the quality that is shown or being coded.
 * shown: codec -> {facts, url, blob}. refused: codec -> why nothing will come.
 */
let page = null;
/** The quality wanted next; null where it is the one asked for. */
let wanted = null;
let busy = false;
let resting = null; // aborts what follows a picture: its file, the other codecs
let timer = 0;

// ---- texts -------------------------------------------------------------------------------------------------------

const known = (value) => value !== null && value !== undefined;
const fixed = (value, digits, unit = "") => (known(value) ? value.toFixed(digits) + unit : "–");
const bytes = (count) => (count < 10000 ? `${count.toLocaleString("en")} bytes` : count < 1e6
  ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1e6).toFixed(2)} MB`);
const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(1) + " %";

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function tell(text) {
  byId("status").textContent = text;
}

function fail(text) {
  byId("error").textContent = text;
  byId("error").hidden = !text;
}

/** Show what went wrong, unless it was only overtaken. */
function report(error) {
  if (error.name === "AbortError" || error.status === 409) return;
  tell("");
  fail(error.message);
  if (!(error instanceof Refusal)) throw error;
}

const waiting = () => tell("The server is busy; waiting …");

// ---- a file comes in ---------------------------------------------------------------------------------------------

async function open(file) {
  fail("");
  if (file.size > settings.bytes) return fail(`${file.name}: larger than ${settings.bytes / 1e6} MB.`);
  const mine = start(file);
  tell("Reading …");
  try {
    const answer = await upload(mine);
    if (page !== mine) return;
    mine.width = answer.facts.width;
    mine.height = answer.facts.height;
    mine.kind = answer.facts.kind;
    keep(mine, mine.kind === "lq" ? OURS : ORIGINAL, answer);
    byId("remarks").textContent = answer.facts.remarks.join(" ");
    byId("remarks").hidden = !answer.facts.remarks.length;
    tell("");
    draw();
    if (mine.kind === "photograph") move();
  } catch (error) {
    if (page !== mine) return;
    close();
    report(error);
  }
}

function start(file) {
  close();
  const leave = new AbortController();
  page = { file, id: null, kind: null, width: 0, height: 0, asked: null, shown: new Map(), refused: new Map(), leave };
  return page;
}

/** Forget what is on the page. */
function close() {
  page?.leave.abort();
  resting?.abort();
  clearTimeout(timer);
  for (const { url } of page?.shown.values() ?? []) URL.revokeObjectURL(url);
  page = null;
  wanted = null;
  byId("result").hidden = true;
}

/** Send the file. Throws a Refusal where the browser cannot read it: a folder, or what was deleted meanwhile. */
async function upload(mine) {
  try {
    await mine.file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Refusal(`${mine.file.name}: cannot be read.`, 0);
  }
  const options = { method: "POST", body: mine.file, signal: mine.leave.signal };
  const answer = await ask("/api/pictures", options, waiting);
  mine.id = answer.facts.id ?? null;
  return answer;
}

/** Remember a codec's picture, the last of an answer's files. */
function keep(mine, key, { facts, files }) {
  const before = mine.shown.get(key);
  const blob = files[files.length - 1];
  mine.shown.set(key, { facts, blob, url: URL.createObjectURL(blob) });
  if (before?.url) setTimeout(() => URL.revokeObjectURL(before.url), 10000); // the old picture shows until then
}

// ---- the dial ----------------------------------------------------------------------------------------------------

/** Ask for the picture at the dial's place: one request at a time, and the last place wins. */
async function move() {
  clearTimeout(timer);
  const place = Number(quality.value);
  wanted = place === page?.asked ? null : place; // a drag that has rested ends where it was: nothing is new
  if (wanted === null) return;
  resting?.abort();
  if (busy) return;
  busy = true;
  try {
    while (wanted !== null && page?.kind === "photograph") {
      const mine = page;
      const asked = wanted;
      wanted = null;
      mine.asked = asked;
      tell(`Coding at quality ${asked} …`);
      try {
        const answer = await askFor(mine, `shown?quality=${asked}`, mine.leave.signal);
        if (page !== mine) continue;
        fail("");
        keep(mine, OURS, answer);
        mine.lq = null;
        mine.refused = new Map();
        tell("");
        draw();
        if (wanted === null) rest(mine, asked);
      } catch (error) {
        if (page !== mine) continue;
        mine.asked = null; // so that it can be asked for again
        report(error);
      }
    }
  } finally {
    busy = false;
  }
}

/** An answer about the picture; where the server has forgotten it, it is sent once more. */
async function askFor(mine, what, signal) {
  const path = () => `/api/pictures/${mine.id}/${what}`;
  try {
    return await ask(path(), { signal }, waiting);
  } catch (error) {
    if (error.status !== 404) throw error;
    await upload(mine);
    return ask(path(), { signal }, waiting);
  }
}

/** The dial rests: the file and its size, then the other codecs at that size, the one beside ours first. */
async function rest(mine, asked) {
  resting = new AbortController();
  const { signal } = resting;
  try {
    tell("Writing the file …");
    const { facts, files } = await askFor(mine, `file?quality=${asked}`, signal);
    if (signal.aborted) return;
    Object.assign(mine.shown.get(OURS).facts, { bytes: facts.bytes, bpp: facts.bpp });
    mine.lq = files[0];
    draw();
    const keys = settings.peers.map(([key]) => key).sort((a, b) => (b === other.value) - (a === other.value));
    for (const key of keys) {
      tell(`Looking for a file of that size: ${names.get(key)} …`);
      await compare(mine, key, facts.bytes, signal);
      if (signal.aborted) return;
      draw();
    }
    tell("");
    if (mine.refused.size) fail([...mine.refused.values()].join(" "));
  } catch (error) {
    if (signal.aborted) return;
    mine.asked = null;
    for (const key of names.keys()) if (!complete(key)) mine.refused.set(key, error.message);
    draw();
    report(error);
  }
}

/** Another codec's file of a size; one that refuses the picture, by its limits, say, leaves the others their turn. */
async function compare(mine, key, size, signal) {
  try {
    const answer = await askFor(mine, `peers/${key}?size=${size}`, signal);
    if (!signal.aborted) keep(mine, key, answer);
  } catch (error) {
    if (!error.status || error.status === 409) throw error; // overtaken, or nobody answers
    mine.refused.set(key, error.message);
  }
}

// ---- drawing -----------------------------------------------------------------------------------------------------

function draw() {
  const lq = page.kind === "lq";
  const ours = page.shown.get(OURS);
  byId("result").hidden = false;
  for (const part of document.querySelectorAll(".photograph")) part.hidden = lq;
  const size = element("small", { textContent: ` ${page.width} × ${page.height}, ${bytes(page.file.size)}` });
  byId("name").replaceChildren(page.file.name, size);
  byId("size").textContent = known(ours?.facts.bytes) ? bytes(ours.facts.bytes) : pending(OURS);
  byId("bpp").textContent = known(ours?.facts.bpp) ? fixed(ours.facts.bpp, 3) : pending(OURS);
  byId("psnr").textContent = lq ? "–" : fixed(ours?.facts.psnr, 2, " dB");
  const right = lq ? OURS : other.value;
  slider.fit(page.width, page.height, Number(byId("zoom").value));
  slider.name(names.get(OURS), names.get(right), lq);
  slider.show("left", ours?.url, `${page.file.name}, leechcodec`);
  // An earlier place's picture stands until the new one comes, not where none will.
  slider.show("right", lq || page.refused.has(right) ? null : page.shown.get(right)?.url, `${page.file.name}, ${names.get(right)}`);
  byId("left-caption").replaceChildren(...caption(OURS));
  byId("right-caption").replaceChildren(...(lq ? [] : caption(right)));
  offer("download-lq", lq ? null : page.lq, "lq");
  offer("download-png", ours?.blob, "png");
  drawTable();
}

function current(key) {
  const facts = page.shown.get(key)?.facts;
  // A file found for an earlier place of the dial is no comparison.
  const stale = key !== OURS && key !== ORIGINAL && facts && !sameSize(facts);
  return facts && !stale ? facts : null;
}

/** Whether a codec's file was looked for at our file's size. */
function sameSize(facts) {
  const ours = page.shown.get(OURS)?.facts.bytes;
  return known(ours) && Math.abs(facts.bytes / (1 + facts.gap / 100) / ours - 1) < 0.001;
}

/** Whether a codec's file at our size is there. */
const complete = (key) => key === ORIGINAL || known(current(key)?.bytes);

/** What stands where a codec's figures are to come, or never will. */
const pending = (key) => (page.refused.has(key) ? "–" : "…");

function caption(key) {
  const title = element("b", { textContent: names.get(key) });
  if (key === ORIGINAL) return [title];
  const facts = current(key);
  if (!facts) return [title, ` ${pending(key)}`];
  const texts = [`quality ${facts.quality}`, known(facts.bytes) ? bytes(facts.bytes) : pending(key), fixed(facts.psnr, 2, " dB")];
  return [title, element("span", { className: "facts" }, ...texts.map((textContent) => element("span", { textContent })))];
}

function drawTable() {
  const keys = [OURS, ...settings.peers.map(([key]) => key)];
  byId("codecs").replaceChildren(...keys.map((key) => {
    const facts = current(key);
    const far = facts && Math.abs(facts.gap ?? 0) > 10;
    const texts = facts
      ? [known(facts.bytes) ? bytes(facts.bytes) : pending(key), known(facts.gap) ? signed(facts.gap) + (far ? ", too far to compare" : "") : "",
        fixed(facts.bpp, 3), fixed(facts.psnr, 2, " dB")]
      : [pending(key), "", "", ""];
    const cells = texts.map((textContent, index) => element("td", { textContent, className: far && index === 1 ? "far" : "" }));
    return element("tr", { className: key === OURS ? "reference" : "" }, element("th", { scope: "row", textContent: names.get(key) }), ...cells);
  }));
}

/** A link that saves a blob under the file's name. */
function offer(id, blob, extension) {
  const link = byId(id);
  if (link.blob !== blob) {
    if (link.href) URL.revokeObjectURL(link.href);
    link.blob = blob;
    if (blob) link.href = URL.createObjectURL(blob);
    else link.removeAttribute("href");
  }
  link.hidden = !blob;
  link.download = `${page.file.name.replace(/\.[^.]*$/, "")}.${extension}`;
}

// ---- controls ----------------------------------------------------------------------------------------------------

function take(files) {
  if (files?.length) open(files[0]);
}

for (const key of [ORIGINAL, ...settings.peers.map(([peer]) => peer)]) other.append(new Option(names.get(key), key));
byId("limits").textContent = `Up to ${settings.bytes / 1e6} MB and ${settings.pixels / 1e6} megapixels.`;
byId("file").addEventListener("change", (event) => {
  take(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
});
quality.addEventListener("input", () => {
  number.value = quality.value;
  clearTimeout(timer);
  timer = setTimeout(move, PAUSE);
});
quality.addEventListener("change", move);
number.addEventListener("change", () => {
  quality.value = number.value || quality.value;
  number.value = quality.value;
  move();
});
for (const id of ["other", "zoom"]) byId(id).addEventListener("change", () => page && draw());
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
for (const end of ["dragleave", "drop"]) document.addEventListener(end, () => byId("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer?.files);
});
if (location.search) history.replaceState(null, "", location.pathname); // the token, now in a cookie
