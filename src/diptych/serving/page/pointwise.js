// What happens to each value alone: the image's pixels, an activation, batch normalisation, dropout.

import { grey, scale, signedScale } from "./colours.js";
import { chooser, element, number, readout, row, table } from "./elements.js";
import { Enlarged } from "./enlarged.js";
import { convolved, extent, mapOf } from "./volume.js";

const AROUND = 3; // Pixels on each side of the one that is pointed at, as numbers.

// The image as the network gets it: a number for each pixel.
export class Pixels {
  constructor(state) {
    this.image = new Enlarged("The image as the networks get it", (y, x) => {
      this.state.pixel = [y, x];
      this.update(this.state);
    });
    this.sum = readout();
    this.element = element("div", "", { className: "stage" });
    this.element.append(this.image.figure, this.sum);
    this.state = state;
  }

  update(state) {
    this.state = state;
    const { pixel: [y, x], before: { shape, values } } = state;
    const [height, width, channels] = shape;
    const grid = { height, width, values: Float32Array.from({ length: height * width }, (_, i) => i) };
    const at = (i) => values.subarray(i * channels, (i + 1) * channels);
    const mean = (i) => at(i).reduce((a, b) => a + b, 0) / channels;
    const colour = channels === 3 ? (i) => [...at(i)].map((v) => 255 * v) : (i) => grey(mean(i));
    this.image.show(grid, colour, { pixel: state.pixel });
    const share = [...at(y * width + x)];
    const bytes = share.map((value) => Math.round(255 * value));
    const around = table("products");
    for (let i = y - AROUND; i <= y + AROUND; i++) {
      if (i < 0 || i >= height) continue;
      const columns = Array.from({ length: 2 * AROUND + 1 }, (_, j) => x - AROUND + j)
        .filter((j) => j >= 0 && j < width);
      const line = row("td", ...columns.map((j) => String(Math.round(255 * mean(i * width + j)))));
      [...line.children].forEach((cell, j) => cell.classList.toggle("chosen", i === y && columns[j] === x));
      around.append(line);
    }
    this.sum.dataset.value = share[0];
    this.sum.replaceChildren(
      element("p", `Row ${y + 1}, column ${x + 1}: ${bytes.join(", ")} of 255. The network gets ` +
        `${bytes.join(", ")} ÷ 255 = ${share.map(number).join(", ")}.`),
      element("p", "The pixels around it:"), around);
  }
}

// Two maps side by side, before and after, and what becomes of the value that is pointed at.
export class Pointwise {
  constructor(state) {
    this.state = state;
    const choose = (y, x) => {
      this.state.pixel = [y, x];
      this.draw();
    };
    this.before = new Enlarged("Before", choose);
    this.after = new Enlarged("After", choose);
    this.after.canvas.classList.add("output");
    this.sum = readout();
    const stage = element("div", "", { className: "stage" });
    stage.append(this.before.figure, this.sum, this.after.figure);
    this.element = element("div");
    this.isFlat = state.output.shape.length === 1;
    if (!this.isFlat) {
      this.choice = chooser("Map", state.output.shape[2], state.channel, (channel) => {
        this.state.channel = channel;
        this.update(this.state);
      });
      this.element.append(this.choice);
    }
    this.element.append(stage);
  }

  update(state) {
    this.state = state;
    const { layer, before, output, channel, weights, step } = state;
    const map = this.isFlat ? 0 : channel;
    this.choice?.show(channel);
    this.results = this.fold(mapOf(output, map));
    if (step !== "activation") this.inputs = this.fold(mapOf(before, map));
    else if (layer.kind === "conv") this.inputs = convolved(layer, before, weights, channel, output.shape);
    else this.inputs = this.fold({ height: 1, width: output.shape[0], values: weighted(before, weights) });
    this.draw();
  }

  // A flat array is shown in lines.
  fold(map) {
    if (!this.isFlat) return map;
    const width = Math.ceil(Math.sqrt(map.width));
    const height = Math.ceil(map.width / width);
    const values = new Float32Array(width * height).fill(NaN);
    values.set(map.values);
    return { height, width, values };
  }

  draw() {
    const { pixel, channel, layer, step } = this.state;
    const { height, width, values } = this.inputs;
    const [y, x] = this.isFlat ? [pixel[0] + Math.floor(pixel[1] / width), pixel[1] % width] : pixel;
    const some = [...values].filter((value) => !Number.isNaN(value));
    const named = this.isFlat ? "" : ` map ${channel + 1}`;
    const range = extent(some);
    this.before.label(`Before:${named || " the values"}`);
    this.before.show(this.inputs, range[0] < 0 ? signedScale(range) : scale(range), { pixel: [y, x] });
    this.after.label(`After:${named || " the values"}`);
    this.after.show(this.results, scale(extent([...this.results.values].filter((v) => !Number.isNaN(v)))),
      { pixel: [y, x] });
    const i = y * width + x;
    const lines = [element("p", this.isFlat ? `Value ${i + 1}:` : `Row ${y + 1}, column ${x + 1}:`)];
    if (layer.kind === "batch_norm") lines.push(this.normalisation(values[i], this.results.values[i]));
    else lines.push(element("p", `${number(values[i])} becomes ${number(this.results.values[i])}.`));
    if (step === "activation") {
      const negative = some.filter((value) => value < 0).length;
      lines.push(element("p", `${negative} of these ${some.length} values are below zero.`));
    }
    this.sum.dataset.before = values[i];
    this.sum.dataset.value = this.results.values[i];
    this.sum.replaceChildren(...lines);
  }

  normalisation(value, result) {
    const at = (name) => this.state.weights[name].values[this.state.channel];
    const spread = Math.sqrt(at("moving_variance") + this.state.layer.epsilon);
    return element("p", `(${number(value)} − mean ${number(at("moving_mean"))}) ÷ deviation ` +
      `${number(spread)} × gamma ${number(at("gamma"))} + beta ${number(at("beta"))} = ${number(result)}`);
  }
}

// What a dense layer computes before its activation.
export function weighted({ values }, { kernel, bias }) {
  const units = bias.values.length;
  const sums = Float32Array.from(bias.values);
  for (let i = 0; i < values.length; i++) {
    if (values[i] === 0) continue;
    for (let unit = 0; unit < units; unit++) sums[unit] += values[i] * kernel.values[i * units + unit];
  }
  return sums;
}
