// One map, enlarged: a pixel is chosen with the pointer or the arrow keys, a window is drawn over it.

import { grey, paint } from "./colours.js";
import { element } from "./elements.js";

const SIDE = 250; // Pixels of the screen that a map may take.

export class Enlarged {
  // `choose(y, x)` is called for a pixel that is pointed at.
  constructor(caption, choose) {
    this.choose = choose;
    this.canvas = element("canvas", "", { className: "enlarged", tabIndex: 0 });
    this.canvas.setAttribute("role", "application");
    this.caption = element("figcaption", caption);
    this.figure = element("figure");
    this.figure.append(this.canvas, this.caption);
    this.label(caption);
    for (const name of ["pointermove", "pointerdown"]) {
      this.canvas.addEventListener(name, (event) => this.point(event));
    }
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  label(caption) {
    this.caption.textContent = caption;
    this.canvas.setAttribute("aria-label", `${caption}: point at a pixel, or move with the arrow keys`);
  }

  // `map` is {height, width, values}; `colour` takes a value. `mark` is {pixel, window, until}: what
  // is outlined, and up to which pixel the map is shown. `margin` is padding around the map.
  show(map, colour, { pixel, window, until = Infinity, margin = [0, 0, 0, 0] } = {}) {
    Object.assign(this, { map, margin });
    this.pixel = pixel ?? this.pixel;
    const [top, left, bottom, right] = margin;
    const [height, width] = [map.height + top + bottom, map.width + left + right];
    const small = document.createElement("canvas");
    const at = (i) => {
      const [y, x] = [Math.floor(i / width) - top, (i % width) - left];
      const inside = y >= 0 && y < map.height && x >= 0 && x < map.width;
      return inside && y * map.width + x <= until ? map.values[y * map.width + x] : NaN;
    };
    paint(small, height, width, at, (value) => (Number.isNaN(value) ? grey(0.55) : colour(value)));
    const zoom = Math.max(1, Math.floor(SIDE / Math.max(height, width)));
    this.canvas.width = width * zoom;
    this.canvas.height = height * zoom;
    const context = this.canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, this.canvas.width, this.canvas.height);
    const box = window ?? (pixel && { top: pixel[0], left: pixel[1], height: 1, width: 1 });
    if (box) outline(context, (box.left + left) * zoom, (box.top + top) * zoom, box.width * zoom, box.height * zoom);
  }

  point(event) {
    if (!this.map) return;
    const box = this.canvas.getBoundingClientRect();
    const [top, left, bottom, right] = this.margin;
    this.go(
      Math.floor(((event.clientY - box.top) / box.height) * (this.map.height + top + bottom)) - top,
      Math.floor(((event.clientX - box.left) / box.width) * (this.map.width + left + right)) - left);
  }

  key(event) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!step || !this.pixel) return;
    event.preventDefault();
    this.go(this.pixel[0] + step[0], this.pixel[1] + step[1]);
  }

  go(y, x) {
    const next = [Math.min(Math.max(y, 0), this.map.height - 1), Math.min(Math.max(x, 0), this.map.width - 1)];
    if (this.pixel && next[0] === this.pixel[0] && next[1] === this.pixel[1]) return;
    this.pixel = next;
    this.choose(...next);
  }
}

// Black in white: seen on every colour, and no colour that means something else.
function outline(context, x, y, width, height) {
  for (const [colour, line] of [["#000000", 5], ["#ffffff", 2.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(x - 1, y - 1, width + 2, height + 2);
  }
}
