// Talking to the service: token, patience when it is busy, and refusals as errors that people can read.

const PATIENCE = 30;
let token = sessionStorage.getItem("cxray-token") || "";
let askForToken = async () => "";

export class Refusal extends Error {
  constructor(problem) {
    super(problem.title || "The service did not answer.");
    this.code = problem.code || "unreachable";
    this.title = problem.title || "The service did not answer.";
    this.detail = problem.detail || "";
    this.nextStep = problem.next_step || "Check that the service runs, then try again.";
  }
}

export function onTokenNeeded(ask) {
  askForToken = ask;
}

async function problemOf(response) {
  try {
    return new Refusal(await response.json());
  } catch {
    return new Refusal({ title: `The service answered ${response.status}.`, code: "unknown" });
  }
}

async function attempt(path, options) {
  const headers = { ...(options.headers || {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  try {
    return await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch {
    throw new Refusal({});
  }
}

// One request; waits as told while the service is busy, asks for a token when it wants one.
export async function call(path, options = {}) {
  let wasAsked = false;
  for (let tries = 0; ; tries += 1) {
    const response = await attempt(path, options);
    if (response.ok) return response;
    if (response.status === 401) {
      token = await askForToken(wasAsked);
      wasAsked = true;
      sessionStorage.setItem("cxray-token", token);
    } else if ([429, 503].includes(response.status) && tries < PATIENCE) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds * (0.5 + Math.random())));
    } else {
      throw await problemOf(response);
    }
  }
}

export async function callJson(path) {
  return (await call(path)).json();
}

const send = (path, blob) =>
  call(path, { method: "POST", body: blob, headers: { "Content-Type": "application/octet-stream" } });

// The batch address answers 200 whatever the film is like: a refused film is an entry of its own, not a failed request.
export async function predict(blob, model) {
  const form = new FormData();
  form.append("file", blob, "film");
  const answer = await call(`/api/predict/batch?model=${encodeURIComponent(model)}`, { method: "POST", body: form });
  const [result] = (await answer.json()).results;
  if (result.code) throw new Refusal(result);
  return result;
}

export async function heatMap(blob, model) {
  const answer = await send(`/api/predict?heat_map=true&model=${encodeURIComponent(model)}`, blob);
  return (await answer.json()).heat_map;
}

// The film's own pixels: 0–65535 for black to white of its declared range.
export async function pixels(blob) {
  const response = await send("/api/view", blob);
  const film = JSON.parse(response.headers.get("X-Film"));
  film.pixels = littleEndian(await response.arrayBuffer());
  return film;
}

function littleEndian(buffer) {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] === 1) return new Uint16Array(buffer);
  const view = new DataView(buffer);
  return Uint16Array.from({ length: buffer.byteLength / 2 }, (_, k) => view.getUint16(2 * k, true));
}
