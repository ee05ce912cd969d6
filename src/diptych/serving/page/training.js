// The slider over a training: from the first snapshot, whose weights are random, to the trained networks.

import { count } from "./elements.js";

export class Training {
  // `changed()` is called when another step is chosen.
  constructor(section, models, changed) {
    this.section = section;
    this.slider = section.querySelector("input");
    this.output = section.querySelector("output");
    this.steps = [];
    this.slider.addEventListener("input", () => {
      this.say();
      changed();
    });
    this.update(models);
  }

  // Takes in what has come meanwhile, where a network is still being trained. A slider at the end
  // stays there.
  update(models) {
    const { atEnd } = this;
    this.steps = [...new Set(models.flatMap((model) => model.snapshots))].sort((a, b) => a - b);
    this.isRunning = models.some((model) => model.training);
    this.slider.max = this.steps.length;
    if (atEnd) this.slider.value = this.steps.length;
    const without = models.filter((model) => !model.snapshots.length).map((model) => model.workflow);
    this.section.querySelector(".note").textContent = without.length
      ? `${without.join(", ")}: no snapshots, so it is shown as it is after its training.` : "";
    this.section.hidden = !this.steps.length;
    this.say();
  }

  get atEnd() {
    return +this.slider.value >= this.steps.length;
  }

  // The step that is shown, or null for the trained networks. While one is trained, the end is its
  // newest snapshot.
  get step() {
    if (!this.atEnd) return this.steps[+this.slider.value];
    return this.isRunning ? this.steps.at(-1) : null;
  }

  say() {
    const { step } = this;
    const text = step === null ? "trained" : step === 0 ? "before the first step" : `after ${count(step)} steps`;
    this.output.textContent = this.isRunning && this.atEnd ? `newest, ${text}` : text;
    this.slider.setAttribute("aria-valuetext", this.output.textContent);
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
