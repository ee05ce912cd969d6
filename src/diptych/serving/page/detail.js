// One map, enlarged, and how a pixel of it comes about: patch, products, sum, bias, activation.

import * as api from "./api.js";
import { grey, map, paint, weight } from "./colours.js";
import { extent } from "./maps.js";

const SHOWN = 8; // Input maps whose part in the sum is shown; there may be hundreds.

export class Detail {
  constructor(dialog) {
    this.dialog = dialog;
    this.title = dialog.querySelector("h2");
    this.canvas = dialog.querySelector("canvas");
    this.sum = dialog.querySelector("#detail-sum");
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  // Opens it. `outputs` is what `/layers` answered, `input` the image as the first layer gets it.
  async open(model, layer, channel, input, outputs) {
    const at = model.layers.findIndex((each) => each.name === layer.name);
    const before = at ? outputs[model.layers[at - 1].name] : input;
    const weighted = ["conv", "batch_norm"].includes(layer.kind);
    const weights = weighted ? await api.weights(model.name, layer.name) : {};
    Object.assign(this, { model, layer, channel, before, output: outputs[layer.name], weights });
    this.title.textContent = `${layer.name}, map ${channel + 1} (${model.workflow})`;
    const [height, width] = this.output.shape;
    this.pixel = [height >> 1, width >> 1];
    this.draw();
    this.explain();
    if (!this.dialog.open) this.dialog.showModal();
    this.canvas.focus();
  }

  value(y, x) {
    const [, width, channels] = this.output.shape;
    return this.output.values[(y * width + x) * channels + this.channel];
  }

  draw() {
    const [height, width, channels] = this.output.shape;
    const [low, high] = extent(this.output.values);
    const zoom = Math.max(1, Math.floor(336 / Math.max(height, width)));
    const small = document.createElement("canvas");
    const share = (i) => (this.output.values[i * channels + this.channel] - low) / (high - low || 1);
    paint(small, height, width, share, map);
    this.canvas.width = width * zoom;
    this.canvas.height = height * zoom;
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, this.canvas.width, this.canvas.height);
    const [y, x] = this.pixel;
    context.strokeStyle = "#d55e00";
    context.lineWidth = 3;
    context.strokeRect(x * zoom - 1, y * zoom - 1, zoom + 2, zoom + 2);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const [height, width] = this.output.shape;
    this.go(Math.floor(((event.clientY - box.top) / box.height) * height),
      Math.floor(((event.clientX - box.left) / box.width) * width));
  }

  key(event) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    this.go(this.pixel[0] + step[0], this.pixel[1] + step[1]);
  }

  go(y, x) {
    const [height, width] = this.output.shape;
    const next = [Math.min(Math.max(y, 0), height - 1), Math.min(Math.max(x, 0), width - 1)];
    if (next[0] === this.pixel[0] && next[1] === this.pixel[1]) return;
    this.pixel = next;
    this.draw();
    this.explain();
  }

  // The values of one input map under the window, row by row; NaN outside of the image.
  patch(channel) {
    const [height, width, channels] = this.before.shape;
    const window = this.layer.kernel ?? this.layer.size;
    const stride = this.layer.stride ?? window;
    const [top, left] = [0, 1].map((axis) => {
      const size = this.before.shape[axis];
      const total = (Math.ceil(size / stride[axis]) - 1) * stride[axis] + window[axis] - size;
      const pad = this.layer.padding === "same" ? Math.max(total, 0) >> 1 : 0;
      return this.pixel[axis] * stride[axis] - pad;
    });
    return Array.from({ length: window[0] * window[1] }, (_, i) => {
      const [y, x] = [top + Math.floor(i / window[1]), left + (i % window[1])];
      const inside = y >= 0 && y < height && x >= 0 && x < width;
      return inside ? this.before.values[(y * width + x) * channels + channel] : NaN;
    });
  }

  explain() {
    const [y, x] = this.pixel;
    const parts = {
      conv: () => this.convolution(),
      max_pool: () => this.pool("largest", (values) => Math.max(...values)),
      average_pool: () => this.pool("mean", (values) => values.reduce((a, b) => a + b, 0) / values.length),
      batch_norm: () => this.normalisation(),
      activation: () => this.activated(this.before.values[this.index()]),
    }[this.layer.kind]?.() ?? [];
    const head = element("p", `Pixel in row ${y + 1}, column ${x + 1}: `);
    head.append(element("strong", number(this.value(y, x))));
    this.sum.dataset.value = this.value(y, x);
    this.sum.replaceChildren(head, ...parts);
  }

  index() {
    const [, width, channels] = this.output.shape;
    return (this.pixel[0] * width + this.pixel[1]) * channels + this.channel;
  }

  convolution() {
    const channels = this.before.shape[2];
    const { kernel, bias } = this.weights;
    const count = kernel.shape[3];
    const taps = (c) => Array.from({ length: kernel.shape[0] * kernel.shape[1] },
      (_, i) => kernel.values[(i * channels + c) * count + this.channel]);
    const inputs = Array.from({ length: channels }, (_, c) => {
      const [values, weights] = [this.patch(c), taps(c)];
      const products = values.map((value, i) => (Number.isNaN(value) ? 0 : value * weights[i]));
      return { c, values, weights, products, sum: products.reduce((a, b) => a + b, 0) };
    });
    const sum = inputs.reduce((total, input) => total + input.sum, 0);
    const rank = [...inputs].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum)).slice(0, SHOWN);
    const rest = sum - rank.reduce((total, input) => total + input.sum, 0);
    const largest = Math.max(...inputs.flatMap((input) => input.weights.map(Math.abs)), 1e-12);
    const [, high] = extent(this.before.values);
    const columns = this.layer.kernel[1];
    const table = element("table");
    table.append(row("th", "input map", "patch", "filter", "sum of the products"));
    for (const input of rank) {
      table.append(row("td", String(input.c + 1),
        tiles(input.values, columns, (v) => map(v / (high || 1))),
        tiles(input.weights, columns, (v) => weight(v / largest)),
        number(input.sum)));
    }
    if (channels > SHOWN) table.append(row("td", `${channels - SHOWN} others`, "", "", number(rest)));
    const steps = [];
    if (channels === 1) steps.push(this.products(inputs[0], columns));
    const offset = bias.values[this.channel];
    this.sum.dataset.sum = sum;
    this.sum.dataset.bias = offset;
    return [
      ...steps,
      table,
      element("p", `Sum ${number(sum)}, and the bias ${number(offset)}: ${number(sum + offset)}`),
      ...this.activated(sum + offset),
    ];
  }

  products({ values, weights }, columns) {
    const table = element("table");
    table.className = "products";
    for (let i = 0; i < values.length; i += columns) {
      table.append(row("td", ...values.slice(i, i + columns).map((value, j) =>
        Number.isNaN(value) ? "edge: 0" : `${number(value)} × ${number(weights[i + j])}`)));
    }
    return table;
  }

  pool(word, of) {
    const window = this.layer.size;
    const values = this.patch(this.channel);
    const inside = values.filter((value) => !Number.isNaN(value));
    const table = element("table");
    table.className = "products";
    const result = of(inside);
    for (let i = 0; i < values.length; i += window[1]) {
      const cells = row("td", ...values.slice(i, i + window[1]).map((v) => (Number.isNaN(v) ? "edge" : number(v))));
      [...cells.children].forEach((cell, j) => cell.classList.toggle("chosen", values[i + j] === result));
      table.append(cells);
    }
    this.sum.dataset.sum = result;
    return [
      element("p", `The ${window.join("×")} values below it in the layer before:`),
      table,
      element("p", `The ${word}: ${number(result)}`),
    ];
  }

  normalisation() {
    const at = (name) => this.weights[name].values[this.channel];
    const value = this.before.values[this.index()];
    const spread = Math.sqrt(at("moving_variance") + this.layer.epsilon);
    const result = ((value - at("moving_mean")) / spread) * at("gamma") + at("beta");
    return [element("p", `(${number(value)} − mean ${number(at("moving_mean"))}) ÷ deviation ` +
      `${number(spread)} × gamma ${number(at("gamma"))} + beta ${number(at("beta"))} = ${number(result)}`)];
  }

  activated(value) {
    const { activation, slope } = this.layer;
    if (!activation || activation === "linear") return [];
    const word = slope === undefined ? activation : `${activation} with slope ${slope}`;
    return [element("p", `After ${word}: ${number(value)} becomes ${number(this.value(...this.pixel))}`)];
  }
}

function element(name, text = "") {
  return Object.assign(document.createElement(name), { textContent: text });
}

function row(kind, ...cells) {
  const made = element("tr");
  for (const cell of cells) {
    const place = element(kind);
    place.append(cell);
    made.append(place);
  }
  return made;
}

function tiles(values, columns, colour) {
  const canvas = element("canvas");
  canvas.className = "tiles";
  const colourOf = (v) => (Number.isNaN(v) ? grey(0.5) : colour(v));
  paint(canvas, values.length / columns, columns, (i) => values[i], colourOf);
  canvas.title = values.map((value) => (Number.isNaN(value) ? "edge" : number(value))).join("  ");
  return canvas;
}

function number(value) {
  return (Math.abs(value) < 5e-4 && value !== 0 ? value.toExponential(1) : value.toFixed(3)).replace("-", "−");
}
