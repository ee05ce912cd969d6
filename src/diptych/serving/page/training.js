// The slider over a training: from the first snapshot, whose weights are random, to the trained networks.

import { count } from "./elements.js";

export class Training {
  // `changed()` is called when another step is chosen.
  constructor(section, models, changed) {
    this.steps = [...new Set(models.flatMap((model) => model.snapshots))].sort((a, b) => a - b);
    this.slider = section.querySelector("input");
    this.output = section.querySelector("output");
    this.slider.max = this.slider.value = this.steps.length;
    this.slider.addEventListener("input", () => {
      this.say();
      changed();
    });
    const without = models.filter((model) => !model.snapshots.length).map((model) => model.workflow);
    section.querySelector(".note").textContent = without.length
      ? `${without.join(", ")}: no snapshots, so it is shown as it is after its training.` : "";
    section.hidden = !this.steps.length;
    this.say();
  }

  // The step of the training, or null for the trained networks.
  get step() {
    return this.steps[+this.slider.value] ?? null;
  }

  say() {
    const { step } = this;
    const text = step === null ? "trained" : step === 0 ? "before the first step" : `after ${count(step)} steps`;
    this.output.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }
}

// Each network's answer and probabilities, from its last layer's output.
export function answersOf(layers, models) {
  return Object.fromEntries(models.map((model) => {
    const logits = [...layers.models[model.name][model.layers.at(-1).name].values];
    const largest = Math.max(...logits);
    const powers = logits.map((logit) => Math.exp(logit - largest));
    const total = powers.reduce((a, b) => a + b, 0);
    return [model.name, {
      answer: model.classes[logits.indexOf(largest)], probabilities: powers.map((power) => power / total) }];
  }));
}
