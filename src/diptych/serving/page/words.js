// Each layer in a sentence or two.

import { count } from "./elements.js";

const share = (part, whole) => `${((100 * part) / whole).toFixed(part < whole / 100 ? 1 : 0)}%`;
const sides = (shape) => shape.join("×");

// What a step of the tour shows, in words.
export function sentence(model, layer, step) {
  if (step === "pixels") return pixels(model);
  if (step === "softmax") return softmax(model);
  if (step === "activation") return activation(layer);
  const at = model.layers.indexOf(layer);
  const before = at ? model.layers[at - 1].output_shape : model.input_shape;
  return KINDS[layer.kind]({ model, layer, before, after: layer.output_shape, isImage: !at });
}

// The heading of a step.
export function heading(layer, step) {
  if (step === "pixels") return "Pixels";
  if (step === "softmax") return "Softmax";
  if (step === "activation") return `${layer.name}: ${layer.activation}`;
  return `${layer.name}: ${HEADINGS[layer.kind]}`;
}

const HEADINGS = {
  conv: "a kernel slides over its input", max_pool: "the largest of each window",
  average_pool: "the mean of each window", batch_norm: "batch normalisation", dropout: "dropout",
  flatten: "maps become a row", dense: "every input, weighted", activation: "an activation",
};

const KINDS = {
  conv: ({ model, layer, before, after, isImage }) => {
    const kernel = sides(layer.kernel);
    const parameters = layer.filters * (layer.kernel[0] * layer.kernel[1] * before[2] + 1);
    const over = isImage && before[2] === 1 ? "the image" : isImage ? "the image's colours" : `the ${before[2]} maps before`;
    const edge = layer.padding === "same"
      ? "Zeros around the edge let the window reach every pixel (padding same)."
      : "The window stays inside (padding valid), so the maps lose their edge.";
    return `${layer.filters} kernels of ${kernel} slide over ${over}. At each place the values under the window ` +
      `are multiplied by the kernel's weights and added up, with a bias; each kernel makes one map of ` +
      `${sides(after.slice(0, 2))}. ${edge} ${layer.filters} × (${kernel}×${before[2]} weights + 1 bias) = ` +
      `${count(parameters)} parameters, ${share(parameters, model.parameters)} of the network's.`;
  },
  max_pool: (of) => pool(of, "Only the largest value", "stays"),
  average_pool: (of) => pool(of, "Only the mean", "goes on"),
  batch_norm: ({ before }) =>
    `Each of the ${before.at(-1)} maps is shifted and scaled: by the mean and the deviation that its values had in ` +
    "training, then by a scale (gamma) and an offset (beta) that were learned.",
  dropout: ({ layer }) =>
    `In training ${share(layer.rate, 1)} of the values, drawn anew for each batch, are set to zero, and the others are divided by ` +
    `${+(1 - layer.rate).toFixed(4)}, so that nothing later relies on any one of them. When a trained network ` +
    "classifies, as here, everything passes unchanged.",
  flatten: ({ before, after }) =>
    `The ${sides(before)} values are put in one row of ${count(after[0])}. Nothing is computed; but from here on a ` +
    "value has no place in the image any more, only its number in the row.",
  dense: ({ model, layer, before }) => {
    const parameters = layer.units * (before[0] + 1);
    return `Each of the ${layer.units} units is connected with all ${count(before[0])} values: it multiplies each ` +
      `by a weight of its own and adds everything up, with a bias. ${layer.units} × (${count(before[0])} weights + ` +
      `1 bias) = ${count(parameters)} parameters, ${share(parameters, model.parameters)} of the network's.`;
  },
  activation: ({ layer }) => activation(layer),
};

function pool({ layer, before, after }, result, verb) {
  const size = sides(layer.size);
  return `${result} of each ${size} window ${verb}. The maps shrink from ${sides(before.slice(0, 2))} to ` +
    `${sides(after.slice(0, 2))}, and where exactly something was seen matters less. There are no parameters.`;
}

function pixels({ input_shape: shape }) {
  const colours = shape[2] > 1 ? `, ${shape[2]} for each pixel` : ", one for each pixel, 0 for black to 255 for white";
  return `To a network an image is ${sides(shape.slice(0, shape[2] > 1 ? 3 : 2))} numbers${colours}. They are divided by 255.`;
}

function activation({ activation, slope }) {
  if (activation === "relu") {
    return "ReLU keeps what is above zero and makes the rest zero. It is applied to each value alone. Without an " +
      "activation in between, two layers of weights could do no more than one.";
  }
  const named = slope === undefined || slope === null ? activation : `${activation} with slope ${slope}`;
  return `The activation ${named} is applied to each value alone. Without an activation in between, two layers of ` +
    "weights could do no more than one.";
}

function softmax({ classes }) {
  return `The last layer's ${classes.length} values are called logits. Softmax raises e to each of them and divides by ` +
    "the total: shares between 0 and 1 that add up to 1. The class with the largest is the answer.";
}
