// A convolution or a pooling opened up: the window over its input, products beside factors, the output.

import { grey, paint, scale, signedScale } from "./colours.js";
import { chooser, element, number, readout, row, table } from "./elements.js";
import { Enlarged } from "./enlarged.js";
import { convolved, extent, mapOf, padding, patch, taps, windowAt } from "./volume.js";

const SHOWN = 8; // Input maps whose share of the sum is shown; there may be hundreds.
const MOMENT = 50; // Milliseconds between two places of a window that slides.
const MOMENTS = 160; // So long it slides after the first row.

export class Windowed {
  constructor(state) {
    this.state = state;
    this.from = null; // the input map whose products are shown; at first the one that adds most
    this.input = new Enlarged("Input", (y, x) => this.follow(y, x));
    this.output = new Enlarged("Output", (y, x) => this.go(y, x));
    this.output.canvas.classList.add("output");
    this.sum = readout();
    this.play = element("button", "Slide the window", { type: "button", className: "play" });
    this.play.addEventListener("click", () => (this.timer ? this.stop() : this.slide()));
    this.choice = chooser("Map", state.output.shape[2], state.channel, (channel) => {
      this.state.channel = channel;
      this.from = null;
      this.update(this.state);
    });
    const controls = element("div", "", { className: "controls" });
    controls.append(this.choice, this.play);
    const stage = element("div", "", { className: "stage" });
    stage.append(this.input.figure, this.sum, this.output.figure);
    this.element = element("div");
    this.element.append(controls, stage);
  }

  get isConvolution() {
    return this.state.layer.kind === "conv";
  }

  update(state) {
    this.state = state;
    const { layer, before, output, channel, step, weights } = state;
    this.choice.show(channel);
    if (step === "sum" && this.isConvolution) {
      this.shown = convolved(layer, before, weights, channel, output.shape);
      this.colour = signedScale(extent(this.shown.values));
    } else {
      this.shown = mapOf(output, channel);
      this.colour = scale(extent(output.values));
    }
    this.draw();
  }

  // Pointing at the input moves the window there.
  follow(y, x) {
    const { layer, before, output } = this.state;
    const window = windowAt(layer, before.shape, [0, 0]);
    const stride = layer.stride ?? layer.size;
    const place = (value, axis, start, size) => Math.min(Math.max(
      Math.round((value - start - (size - 1) / 2) / stride[axis]), 0), output.shape[axis] - 1);
    this.go(place(y, 0, window.top, window.height), place(x, 1, window.left, window.width));
  }

  go(y, x) {
    this.stop();
    this.state.pixel = [y, x];
    this.draw();
  }

  slide() {
    const { height, width } = this.shown;
    const fast = Math.max(1, Math.ceil((height * width) / MOMENTS));
    let at = -1;
    this.play.textContent = "Stop";
    this.timer = setInterval(() => {
      // At first a pixel at a time, to be followed; then as fast as it takes.
      at += at < width ? 1 : fast;
      if (at >= height * width || !this.element.isConnected) return this.stop();
      this.state.pixel = [Math.floor(at / width), at % width];
      this.draw(at);
    }, MOMENT);
  }

  stop() {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Slide the window";
    this.draw();
  }

  draw(until = Infinity) {
    const { layer, before, pixel, channel, isImage } = this.state;
    if (!this.isConvolution) this.from = channel;
    else this.from ??= this.contributions(windowAt(layer, before.shape, pixel)).toSorted(byStrength)[0].c;
    const window = windowAt(layer, before.shape, pixel);
    const margin = padding(layer, before.shape);
    const name = isImage ? "Input: the image" : `Input: map ${this.from + 1}`;
    this.input.label(`${name}, with the ${window.height}×${window.width} window`);
    this.input.show(mapOf(before, this.from), isImage ? (v) => grey(v) : scale(extent(before.values)),
      { pixel, window, margin });
    this.input.pixel = [window.top + (window.height >> 1), window.left + (window.width >> 1)];
    this.output.label(`Output: map ${channel + 1}${this.state.step === "sum" ? ", before the activation" : ""}`);
    this.output.show(this.shown, this.colour, { pixel, until });
    this.explain(window);
  }

  explain(window) {
    const [y, x] = this.state.pixel;
    const value = this.shown.values[y * this.shown.width + x];
    const head = element("p", `Row ${y + 1}, column ${x + 1} of the output: `);
    head.append(element("strong", number(value)));
    this.sum.dataset.value = value;
    this.sum.replaceChildren(head, ...(this.isConvolution ? this.products(window) : this.pool(window)));
  }

  // What each input map adds to the output's pixel.
  contributions(window) {
    const { before, channel, weights: { kernel } } = this.state;
    return Array.from({ length: before.shape[2] }, (_, c) => {
      const [values, weights] = [patch(before, c, window), taps(kernel, c, channel)];
      const sum = values.reduce((total, value, i) => total + (Number.isNaN(value) ? 0 : value * weights[i]), 0);
      return { c, values, weights, sum };
    });
  }

  products(window) {
    const { layer, channel, weights: { bias } } = this.state;
    const inputs = this.contributions(window);
    const sum = inputs.reduce((total, input) => total + input.sum, 0);
    const offset = bias.values[channel];
    this.sum.dataset.sum = sum;
    this.sum.dataset.bias = offset;
    const lines = [element("p", "Value × weight, for each pixel under the window:"),
      this.factors(inputs[this.from], window.width)];
    if (inputs.length > 1) lines.push(this.shares(inputs, sum));
    lines.push(element("p", `Sum ${number(sum)}, and the bias ${number(offset)}: ${number(sum + offset)}`));
    const { activation } = layer;
    if (activation && activation !== "linear" && this.state.step !== "sum") {
      lines.push(element("p", `After ${activation}: ${number(sum + offset)} becomes ${number(+this.sum.dataset.value)}`));
    }
    return lines;
  }

  factors({ values, weights, sum, c }, columns) {
    const products = table("products");
    const limit = Math.max(...weights.map(Math.abs), 1e-12);
    for (let i = 0; i < values.length; i += columns) {
      products.append(row("td", ...values.slice(i, i + columns).map((value, j) => {
        const weight = weights[i + j];
        const cell = element("span");
        cell.append(swatch(signedScale([-limit, limit])(weight)), Number.isNaN(value)
          ? "edge: 0" : `${number(value)} × ${number(weight)}`,
        element("b", ` = ${Number.isNaN(value) ? 0 : number(value * weight)}`));
        return cell;
      })));
    }
    const whole = element("div", "", { className: "wide", tabIndex: 0 });
    whole.setAttribute("role", "group");
    whole.setAttribute("aria-label", `Products of input map ${c + 1}`);
    whole.append(products, element("p", `These ${values.length} products add up to ${number(sum)}.`));
    return whole;
  }

  // What every input map adds to the sum, those that add most first; a click shows its products.
  shares(inputs, sum) {
    const most = inputs.toSorted(byStrength).slice(0, SHOWN);
    const rest = sum - most.reduce((total, input) => total + input.sum, 0);
    const shares = table("shares", "input map", "patch", "kernel", "its products' sum");
    const [, high] = extent(this.state.before.values);
    const limit = Math.max(...most.flatMap((input) => input.weights.map(Math.abs)), 1e-12);
    const columns = this.state.layer.kernel[1];
    for (const input of most) {
      const button = element("button", String(input.c + 1), { type: "button" });
      button.setAttribute("aria-label", `Show the products of input map ${input.c + 1}`);
      button.setAttribute("aria-pressed", input.c === this.from);
      button.addEventListener("click", () => {
        this.from = input.c;
        this.draw();
        this.sum.querySelector('[aria-pressed="true"]')?.focus();
      });
      shares.append(row("td", button, tiles(input.values, columns, scale([0, high])),
        tiles(input.weights, columns, signedScale([-limit, limit])), number(input.sum)));
    }
    if (inputs.length > SHOWN) shares.append(row("td", `${inputs.length - SHOWN} others`, "", "", number(rest)));
    return shares;
  }

  pool(window) {
    const { layer, before, channel } = this.state;
    const values = patch(before, channel, window);
    const inside = values.filter((value) => !Number.isNaN(value));
    const largest = layer.kind === "max_pool";
    const result = largest ? Math.max(...inside) : inside.reduce((a, b) => a + b, 0) / inside.length;
    const cells = table("products");
    for (let i = 0; i < values.length; i += window.width) {
      const line = row("td", ...values.slice(i, i + window.width).map((v) => (Number.isNaN(v) ? "edge" : number(v))));
      [...line.children].forEach((cell, j) => cell.classList.toggle("chosen", largest && values[i + j] === result));
      cells.append(line);
    }
    this.sum.dataset.sum = result;
    return [
      element("p", `The ${window.height}×${window.width} values under the window:`),
      cells,
      element("p", `The ${largest ? "largest" : "mean"}: ${number(result)}`),
    ];
  }
}

const byStrength = (a, b) => Math.abs(b.sum) - Math.abs(a.sum);

function swatch(colour) {
  const square = element("canvas", "", { className: "swatch" });
  paint(square, 1, 1, () => 0, () => colour);
  return square;
}

export function tiles(values, columns, colour) {
  const canvas = element("canvas", "", { className: "tiles" });
  paint(canvas, Math.ceil(values.length / columns), columns, (i) => values[i],
    (value) => (Number.isNaN(value) || value === undefined ? grey(0.55) : colour(value)));
  canvas.title = values.map((value) => (Number.isNaN(value) ? "edge" : number(value))).join("  ");
  return canvas;
}
