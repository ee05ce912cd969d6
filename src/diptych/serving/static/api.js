// What `page/api.js` is on a server, computed in the browser: the networks as ONNX, by ONNX Runtime Web.

import * as ort from "./onnxruntime/ort.wasm.bundle.min.mjs";
import { prepared, Unreadable } from "./prepare.js";

ort.env.wasm.numThreads = 1; // Threads need headers that plain file servers do not send.
ort.env.wasm.wasmPaths = { wasm: new URL("./onnxruntime/ort-wasm-simd-threaded.wasm", import.meta.url).href };

const place = (name) => new URL(`../data/${name}`, import.meta.url);

export class Refusal extends Error {}

async function read(name, how) {
  const response = await fetch(place(name));
  if (!response.ok) throw new Refusal(`${name}: the file server answers ${response.status}`);
  return response[how]();
}

const once = (read) => {
  let answer = null;
  return () => (answer ??= read());
};

export const models = once(() => read("models.json", "json"));
const pool = once(() => read("samples.json", "json"));

export async function samples(start, count) {
  const { labels, shape: [height, width, channels], pixels } = await pool();
  const bytes = Uint8Array.from(atob(pixels), (character) => character.charCodeAt(0));
  const numbers = Array.from({ length: Math.min(count, labels.length) }, (_, i) => (start + i) % labels.length);
  return numbers.map((number) => ({
    number,
    label: labels[number],
    image: nested(bytes.subarray(number * height * width * channels), height, width, channels),
  }));
}

const nested = (values, height, width, channels) =>
  Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) =>
    [...values.subarray((y * width + x) * channels, (y * width + x + 1) * channels)]));

const sessions = new Map();
let queue = Promise.resolve(); // A session does one thing at a time.

function session(name) {
  if (!sessions.has(name)) {
    sessions.set(name, read(`${name}.onnx`, "arrayBuffer").then((bytes) =>
      ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] })));
  }
  return sessions.get(name);
}

function run(name, image, outputs) {
  const [height, width, channels] = [image.length, image[0].length, image[0][0].length];
  const images = new ort.Tensor("uint8", Uint8Array.from(image.flat(2)), [1, height, width, channels]);
  queue = queue.catch(() => {}).then(async () => (await session(name)).run({ images }, outputs));
  return queue;
}

export async function prepare(blob) {
  const [model] = await models();
  try {
    return await prepared(blob, model.input_shape, model.data);
  } catch (problem) {
    if (problem instanceof Unreadable) throw new Refusal(`${blob.name ?? "drawing.png"}: ${problem.message}`);
    throw problem;
  }
}

export async function layers(image) {
  const shape = [image.length, image[0].length, image[0][0].length];
  const answer = { input: { shape, values: Float32Array.from(image.flat(2), (value) => value / 255) }, models: {}, step: null };
  for (const model of await models()) {
    const outputs = await run(model.name, image, model.layers.map((layer) => `${layer.name}/output`));
    answer.models[model.name] = Object.fromEntries(model.layers.map((layer) =>
      [layer.name, { shape: layer.output_shape, values: outputs[`${layer.name}/output`].data }]));
  }
  return answer;
}

const files = new Map();

// A layer's weights, from the network's safetensors file: a length, a header in JSON, the arrays.
export async function weights(model, layer) {
  if (!files.has(model)) files.set(model, read(`${model}.safetensors`, "arrayBuffer"));
  const bytes = await files.get(model);
  const length = Number(new DataView(bytes).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
  return Object.fromEntries(Object.entries(header)
    .filter(([name]) => name.startsWith(`${layer}/`))
    .map(([name, { shape, data_offsets: [start, end] }]) =>
      [name.slice(layer.length + 1), { shape, values: new Float32Array(bytes.slice(8 + length + start, 8 + length + end)) }]));
}
