// A dialog with one layer opened up. It closes on its button, on Escape, and on a click beside it.

import { Explanation } from "./explanation.js";
import { heading, sentence } from "./words.js";

export class Detail {
  constructor(dialog) {
    this.dialog = dialog;
    this.title = dialog.querySelector("h2");
    this.words = dialog.querySelector(".words");
    this.explanation = new Explanation(dialog.querySelector(".explanation"));
    dialog.addEventListener("close", () => this.explanation.clear());
    dialog.addEventListener("pointerdown", (event) => {
      const box = dialog.getBoundingClientRect();
      const inside = event.clientX >= box.left && event.clientX <= box.right &&
        event.clientY >= box.top && event.clientY <= box.bottom;
      if (event.target === dialog && !inside) dialog.close();
    });
  }

  // `step` is {model, layer, step}; `chosen` the map or unit to begin with.
  async open(step, latest, chosen) {
    this.title.textContent = `${heading(step.layer, step.step)} (${step.model.workflow})`;
    this.words.textContent = sentence(step.model, step.layer, step.step);
    if (!this.dialog.open) this.dialog.showModal();
    await this.explanation.show(step, latest, chosen);
    this.dialog.querySelector("canvas.output")?.focus();
  }
}
