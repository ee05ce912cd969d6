// Every layer's output for each network: maps as small pictures, flat layers as a strip.

import { grey, paint, scale } from "./colours.js";
import { element } from "./elements.js";
import { extent } from "./volume.js";

const NOTES = {
  dropout: "passes everything on: it drops only in training",
  flatten: "puts the maps' values in one row",
};

// The rows of the layers' table; `choose(model, layer, place)` is called for a map that is chosen, or
// for a value of a flat layer.
export class Maps {
  constructor(element, models, choose) {
    this.models = models;
    this.choose = choose;
    this.canvases = new Map();
    element.replaceChildren(...this.rows());
  }

  rows() {
    // Two networks may differ in their layers; each row then has one side only.
    const most = Math.max(...this.models.map((model) => model.layers.length));
    return Array.from({ length: most }, (_, at) => {
      const row = document.createElement("div");
      row.className = "layer";
      row.append(...this.models.map((model) => this.panel(model, model.layers[at])));
      return row;
    });
  }

  panel(model, layer) {
    const panel = document.createElement("section");
    if (!layer) return panel;
    const title = element("h3", layer.name);
    title.append(element("small", ` ${model.workflow}, ${words(layer)}, ${layer.output_shape.join("×")}`));
    panel.append(title);
    if (NOTES[layer.kind]) panel.append(element("p", NOTES[layer.kind], { className: "note" }));
    if (layer.kind === "dropout") return panel;
    panel.append(layer.output_shape.length === 3 ? this.grid(model, layer) : this.strip(model, layer));
    return panel;
  }

  grid(model, layer) {
    const grid = document.createElement("div");
    grid.className = "maps";
    grid.setAttribute("role", "group");
    grid.setAttribute("aria-label", `Maps of ${layer.name}, ${model.workflow}`);
    const canvases = Array.from({ length: layer.output_shape[2] }, (_, channel) => {
      const button = document.createElement("button");
      button.type = "button";
      button.tabIndex = channel ? -1 : 0;
      button.setAttribute("aria-label", `Map ${channel + 1} of ${layer.name}, ${model.workflow}`);
      const canvas = button.appendChild(document.createElement("canvas"));
      button.addEventListener("click", () => this.choose(model, layer, channel));
      grid.append(button);
      return canvas;
    });
    // One stop for the tab key a layer; arrows move within it.
    grid.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const buttons = [...grid.children];
      const at = buttons.indexOf(document.activeElement);
      const next = buttons[(at + step + buttons.length) % buttons.length];
      buttons[at].tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    this.canvases.set(`${model.name}/${layer.name}`, canvases);
    return grid;
  }

  strip(model, layer) {
    const units = layer.output_shape[0];
    const button = element("button", "", { type: "button", className: "strip" });
    button.setAttribute("aria-label", `The ${units} values of ${layer.name}, ${model.workflow}: see how they come about`);
    const canvas = button.appendChild(document.createElement("canvas"));
    button.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      // By keyboard there is no place, and the largest value is shown.
      const unit = Math.floor(((event.clientX - box.left) / box.width) * units);
      this.choose(model, layer, event.detail ? Math.min(Math.max(unit, 0), units - 1) : undefined);
    });
    this.canvases.set(`${model.name}/${layer.name}`, [canvas]);
    return button;
  }

  // Shows what `/layers` answered. Each layer has a scale of its own, from its least to its largest.
  show(outputs) {
    for (const model of this.models) {
      for (const layer of model.layers) {
        const canvases = this.canvases.get(`${model.name}/${layer.name}`);
        if (!canvases) continue;
        const { shape, values } = outputs[model.name][layer.name];
        const colour = scale(extent(values));
        const [height, width, channels] = shape.length === 3 ? shape : [1, shape[0], 1];
        canvases.forEach((canvas, channel) =>
          paint(canvas, height, width, (i) => values[i * channels + channel], colour));
      }
    }
  }

  clear() {
    for (const canvases of this.canvases.values()) {
      for (const canvas of canvases) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    }
  }
}

export function showImage(canvas, image) {
  const [height, width] = [image.length, image[0].length];
  const flat = image.flat();
  const colour = (pixel) =>
    pixel.length >= 3 ? pixel.slice(0, 3) : grey(pixel[0] / 255);
  paint(canvas, height, width, (i) => flat[i], colour);
}

function words(layer) {
  const window = (layer.kernel ?? layer.size)?.join("×");
  const kind = { conv: "convolution", max_pool: "maximum", average_pool: "average",
    batch_norm: "batch normalisation" }[layer.kind] ?? layer.kind;
  const activation = layer.activation && layer.activation !== "linear" ? layer.activation : "";
  return [kind, window, activation].filter(Boolean).join(" ");
}
