// The drawing area: mouse, finger or pen by pointer events; black on white.

export class Pad {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.pen = 20;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.clear();
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => { this.last = null; });
    }
  }

  clear() {
    this.context.fillStyle = "white";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.empty = true;
    this.picture = false;
    this.last = null;
  }

  show(bitmap) {
    const { width, height } = this.canvas;
    const scale = Math.min(width / bitmap.width, height / bitmap.height);
    const [w, h] = [bitmap.width * scale, bitmap.height * scale];
    this.clear();
    this.context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
    this.picture = true;
    this.empty = false;
  }

  blob() {
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }

  down(event) {
    if (event.button) return;
    if (this.picture) this.clear();
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.place(event);
    // A line of no length is not drawn: a stroke begins with a dot.
    this.line(this.last, [this.last[0] + 0.01, this.last[1]]);
  }

  move(event) {
    if (!this.last) return;
    // Fast strokes come in coalesced events; without them they would have corners.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const next = this.place(each);
      this.line(this.last, next);
      this.last = next;
    }
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  line(from, to) {
    Object.assign(this.context, {
      lineWidth: this.pen, lineCap: "round", lineJoin: "round", strokeStyle: "black",
    });
    this.context.beginPath();
    this.context.moveTo(...from);
    this.context.lineTo(...to);
    this.context.stroke();
    this.empty = false;
    this.changed();
  }
}
