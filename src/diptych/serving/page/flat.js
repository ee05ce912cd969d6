// The end of a network opened up: flatten, a dense layer, softmax.

import { scale, signedScale } from "./colours.js";
import { chooser, count, element, number, readout, row, table } from "./elements.js";
import { Enlarged } from "./enlarged.js";
import { extent, mapOf } from "./volume.js";
import { weighted } from "./pointwise.js";

const SHOWN = 10; // Products of a unit that are listed; there may be thousands.

// The number of a pixel's value in the row: channels run fastest.
const place = ([, width, channels], y, x, c) => (y * width + x) * channels + c;

// Where a value of the row comes from, in words.
function origin(shape, i) {
  if (shape?.length !== 3) return `value ${i + 1}`;
  const [, width, channels] = shape;
  const pixel = Math.floor(i / channels);
  return `map ${(i % channels) + 1}, row ${Math.floor(pixel / width) + 1}, column ${(pixel % width) + 1}`;
}

export class Flatten {
  constructor(state) {
    this.state = state;
    this.map = new Enlarged("Map", (y, x) => {
      this.state.pixel = [y, x];
      this.draw();
    });
    this.row = new Enlarged("Row", (y, x) => this.go(y * this.lines.width + x));
    this.row.canvas.classList.add("output");
    this.sum = readout();
    this.isImage = state.before.shape.length === 3;
    this.choice = chooser("Map", this.isImage ? state.before.shape[2] : 1, state.channel, (channel) => {
      this.state.channel = channel;
      this.draw();
    });
    const stage = element("div", "", { className: "stage" });
    stage.append(this.map.figure, this.sum, this.row.figure);
    this.element = element("div");
    this.element.append(this.choice, stage);
  }

  update(state) {
    this.state = state;
    this.lines = lines(state.output);
    this.draw();
  }

  go(i) {
    const { shape } = this.state.before;
    if (!this.isImage || i >= this.state.output.shape[0]) return;
    const pixel = Math.floor(i / shape[2]);
    this.state.channel = i % shape[2];
    this.state.pixel = [Math.floor(pixel / shape[1]), pixel % shape[1]];
    this.draw();
  }

  draw() {
    const { before, output, channel } = this.state;
    const map = mapOf(before, this.isImage ? channel : 0);
    const [y, x] = this.state.pixel = [
      Math.min(this.state.pixel[0], map.height - 1), Math.min(this.state.pixel[1], map.width - 1)];
    const colour = scale(extent(output.values));
    const i = this.isImage ? place(before.shape, y, x, channel) : x;
    this.choice.show(channel);
    this.map.label(`Map ${channel + 1} of the layer before`);
    this.map.show(map, colour, { pixel: [y, x] });
    this.row.label(`The row of ${count(output.shape[0])} values, ${this.lines.width} in a line`);
    this.row.show(this.lines, colour, { pixel: [Math.floor(i / this.lines.width), i % this.lines.width] });
    this.sum.dataset.index = i;
    this.sum.dataset.value = output.values[i];
    this.sum.replaceChildren(
      element("p", `Row ${y + 1}, column ${x + 1} of map ${channel + 1} is ${number(output.values[i])}.`),
      element("p", `It becomes value ${count(i + 1)} of ${count(output.shape[0])}: nothing is computed.`));
  }
}

export class Dense {
  constructor(state) {
    this.state = state;
    this.units = new Enlarged("Units", (y, x) => this.go(y * this.lines.width + x));
    this.units.canvas.classList.add("output");
    this.weights = new Enlarged("Weights", () => {});
    this.weights.canvas.tabIndex = -1;
    this.weights.canvas.setAttribute("role", "img");
    this.sum = readout();
    this.choice = chooser("Unit", state.output.shape[0], state.unit, (unit) => this.go(unit));
    const stage = element("div", "", { className: "stage" });
    stage.append(this.weights.figure, this.sum, this.units.figure);
    this.element = element("div");
    this.element.append(this.choice, stage);
  }

  update(state) {
    this.state = state;
    const raw = state.step === "sum";
    const values = raw ? weighted(state.before, state.weights) : state.output.values;
    this.lines = lines({ shape: state.output.shape, values });
    this.colour = (raw ? signedScale : scale)(extent(values));
    this.draw();
  }

  go(unit) {
    if (unit >= this.state.output.shape[0]) return;
    this.state.unit = unit;
    this.draw();
  }

  draw() {
    const { before, layer, weights: { kernel, bias }, maps, step, classes } = this.state;
    const units = bias.values.length;
    const unit = this.state.unit = Math.min(this.state.unit, units - 1);
    const named = classes ? `${unit + 1}, class ${classes[unit]}` : `${unit + 1}`;
    this.choice.show(unit);
    const weights = Float32Array.from({ length: before.values.length }, (_, i) => kernel.values[i * units + unit]);
    const products = weights.map((weight, i) => weight * before.values[i]);
    this.weights.label(`What each of the ${count(products.length)} inputs adds to unit ${named}`);
    this.weights.show(lines({ shape: before.shape, values: products }), signedScale(extent(products)));
    this.units.label(`The layer's ${count(units)} values${step === "sum" ? ", before the activation" : ""}`);
    this.units.show(this.lines, this.colour, { pixel: [Math.floor(unit / this.lines.width), unit % this.lines.width] });
    const order = [...products.keys()].sort((a, b) => Math.abs(products[b]) - Math.abs(products[a]));
    const most = order.slice(0, SHOWN);
    const sum = products.reduce((a, b) => a + b, 0);
    const rest = sum - most.reduce((total, i) => total + products[i], 0);
    const shares = table("shares", "input", "value × weight", "product");
    for (const i of most) {
      shares.append(row("td", origin(maps, i), `${number(before.values[i])} × ${number(weights[i])}`, number(products[i])));
    }
    if (order.length > SHOWN) shares.append(row("td", `${count(order.length - SHOWN)} others`, "", number(rest)));
    const up = products.reduce((total, product) => total + Math.max(product, 0), 0);
    const offset = bias.values[unit];
    const value = this.lines.values[unit];
    Object.assign(this.sum.dataset, { sum, bias: offset, value });
    const said = [
      element("p", `Unit ${named}: each input times its weight, the largest products first.`),
      shares,
      element("p", `Products above zero add ${number(up)}, those below ${number(sum - up)}. With the bias ` +
        `${number(offset)}: ${number(sum + offset)}`),
    ];
    if (step !== "sum" && layer.activation && layer.activation !== "linear") {
      said.push(element("p", `After ${layer.activation}: ${number(sum + offset)} becomes ${number(value)}`));
    }
    this.sum.replaceChildren(...said);
  }
}

export class Softmax {
  constructor() {
    this.sum = readout();
    this.element = element("div");
    this.element.append(this.sum);
  }

  update({ output: { values }, classes }) {
    const [, high] = extent(values);
    const powers = [...values].map((value) => Math.exp(value - high));
    const total = powers.reduce((a, b) => a + b, 0);
    const shares = powers.map((power) => power / total);
    const lines = table("shares softmax", "class", "logit", "minus the largest", "e to that", "share", "as a bar");
    classes.forEach((name, i) => {
      const bar = element("meter", "", { value: shares[i], max: 1 });
      bar.setAttribute("aria-label", `Share of class ${name}`);
      const line = row("td", name, number(values[i]), number(values[i] - high), number(powers[i]),
        `${(100 * shares[i]).toFixed(2)}%`, bar);
      line.classList.toggle("best", values[i] === high);
      lines.append(line);
    });
    this.sum.dataset.shares = JSON.stringify(shares);
    this.sum.replaceChildren(lines, element("p", `The powers add up to ${number(total)}. Each divided by that ` +
      "is its share, and the shares add up to 100%. To subtract the largest logit first changes no share; it " +
      "keeps the powers from growing too large for the computer."));
  }
}

// A flat array in lines, near a square.
function lines({ values }) {
  const width = values.length <= 10 ? values.length : Math.ceil(Math.sqrt(values.length) / 8) * 8;
  const height = Math.ceil(values.length / width);
  const all = new Float32Array(width * height).fill(NaN);
  all.set(values);
  return { height, width, values: all };
}
