// The server's API: JSON in, JSON out, one sentence where it refuses.

let token = sessionStorage.getItem("token");

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function call(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    token = await askForToken();
    sessionStorage.setItem("token", token);
    return call(path, options);
  }
  const body = await response.json();
  if (!response.ok) throw new Refusal(response.status, body.detail);
  return body;
}

let asking = null;

// One dialog, however many requests need the token.
function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("token");
    dialog.addEventListener("close", () => {
      asking = null;
      resolve(dialog.querySelector("input").value);
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

const sendArrays = (path, images) =>
  call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ images }),
  });

export const models = () => call("/models");
export const samples = (start, count) => call(`/samples?start=${start}&count=${count}`);

// A picture in any form as the networks see it: [height][width][channels] of 0 to 255.
export async function prepare(blob) {
  const form = new FormData();
  form.append("images", blob, blob.name ?? "drawing.png");
  const answer = await call("/predict?seen=true", { method: "POST", body: form });
  return answer.predictions[0].seen;
}

// As the networks are, or as they were after a step of their training.
export async function layers(image, step = null) {
  const answer = await sendArrays(`/layers${after(step)}`, [image]);
  const decode = (of) => Object.fromEntries(Object.entries(of).map(([k, v]) => [k, floats(v)]));
  const models = Object.entries(answer.models).map(([name, of]) => [name, decode(of)]);
  return { input: floats(answer.input), models: Object.fromEntries(models), step };
}

const after = (step) => (step === null ? "" : `?step=${step}`);

const known = new Map();

// A layer's weights; those of a step never change.
export function weights(model, layer, step = null) {
  const path = `/models/${encodeURIComponent(model)}/weights/${encodeURIComponent(layer)}${after(step)}`;
  if (!known.has(path)) {
    known.set(path, call(path).then((of) =>
      Object.fromEntries(Object.entries(of).map(([name, array]) => [name, floats(array)]))));
  }
  return known.get(path);
}

function floats({ shape, float32 }) {
  const bytes = Uint8Array.from(atob(float32), (c) => c.charCodeAt(0));
  return { shape, values: new Float32Array(bytes.buffer) };
}
