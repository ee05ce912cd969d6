// A layer opened up, for the image of the moment: which view shows it, and what the view needs.

import * as api from "./api.js";
import { Dense, Flatten, Softmax } from "./flat.js";
import { Pixels, Pointwise } from "./pointwise.js";
import { mapOf } from "./volume.js";
import { Windowed } from "./windowed.js";

const VIEWS = {
  pixels: Pixels, softmax: Softmax, activation: Pointwise, batch_norm: Pointwise, dropout: Pointwise,
  conv: Windowed, max_pool: Windowed, average_pool: Windowed, flatten: Flatten, dense: Dense,
};

export class Explanation {
  constructor(host) {
    this.host = host;
    this.view = null;
    this.shown = 0;
  }

  // Shows a step, `{model, layer, step}`, for what `/layers` answered. `step` is "pixels", "softmax",
  // "activation" or "sum" (what comes before an activation), or nothing for the whole layer.
  async show({ model, layer, step }, latest, chosen = {}) {
    const old = this.state;
    const same = this.view && old.model === model && old.layer === layer && old.step === step;
    if (!same) this.clear();
    const turn = ++this.shown;
    const named = ["pixels", "softmax", "activation"].includes(step) ? step : layer.kind;
    const weighted = ["conv", "dense", "batch_norm"].includes(layer?.kind) && named !== "softmax";
    const weights = weighted ? await api.weights(model.name, layer.name, latest.step) : {};
    if (turn !== this.shown) return; // Another one was asked for meanwhile.
    const state = { model, layer, step, weights, ...inputs(model, layer, step, latest) };
    const maps = layer?.kind === "flatten" ? state.before : state.output;
    const channel = chosen.channel ?? (same ? old.channel : brightest(maps));
    this.state = {
      ...state,
      channel,
      unit: chosen.unit ?? (same ? old.unit : largest(state.output.values)),
      pixel: same ? old.pixel : brightestPixel(maps, channel),
    };
    if (!this.view) {
      this.view = new VIEWS[named](this.state);
      this.host.replaceChildren(this.view.element);
    }
    this.view.update(this.state);
  }

  clear() {
    this.shown++; // Whatever is still to come is no longer wanted.
    this.view?.stop?.();
    this.view = null;
    this.host.replaceChildren();
  }
}

function inputs(model, layer, step, latest) {
  const outputs = latest.models[model.name];
  const last = model.layers.at(-1);
  if (step === "pixels") return { before: latest.input, output: latest.input };
  if (step === "softmax") return { output: outputs[last.name], classes: model.classes };
  const at = model.layers.indexOf(layer);
  return {
    before: at ? outputs[model.layers[at - 1].name] : latest.input,
    output: outputs[layer.name],
    isImage: at === 0,
    classes: layer === last ? model.classes : undefined,
    maps: shapeBeforeFlatten(model, at),
  };
}

// The maps whose values a dense layer gets in a row, if it does.
function shapeBeforeFlatten(model, at) {
  while (--at >= 0 && model.layers[at].kind === "dropout");
  if (at < 0 || model.layers[at].kind !== "flatten") return undefined;
  return at ? model.layers[at - 1].output_shape : model.input_shape;
}

const largest = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

// The map with the largest value, and where the largest value of a map is: something to see there.
const brightest = ({ shape, values }) => (shape.length === 3 ? largest(values) % shape[2] : 0);

function brightestPixel(maps, channel) {
  const { width, values } = mapOf(maps, channel);
  const at = largest(values);
  return [Math.floor(at / width), at % width];
}
