// Questions to the server: facts from a header, files from the body; patience while it is busy.

const ATTEMPTS = 8;

/** The server's refusal. message: one line for the user. status: of HTTP, 0 where there was no answer at all. */
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * {facts, files} of an answer; files are blobs. While the server is busy, waits as long as it asks and tries again.
 * options: fetch's. busy: called when that happens. Throws a Refusal, or fetch's AbortError.
 */
export async function ask(path, options = {}, busy = () => {}) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(path, { cache: "no-store", ...options });
      if (response.ok) return await unpack(response);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal("The server does not answer. Is leechcodec serve still running?", 0);
    }
    if (response.status !== 503 || attempt === ATTEMPTS) throw await refusal(response);
    busy();
    await pause(1000 * (Number(response.headers.get("Retry-After")) || 2), options.signal);
  }
}

async function unpack(response) {
  const facts = JSON.parse(response.headers.get("X-Leechcodec"));
  const body = await response.blob();
  let start = 0;
  const files = facts.parts.map(([length, type]) => body.slice(start, (start += length), type));
  return { facts, files };
}

async function refusal(response) {
  const said = await response.json().catch(() => ({}));
  return new Refusal(said.error ?? `The server answered ${response.status}.`, response.status);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
