// The guided tour: the network from the pixels to the answer, a step at a time, for the image of the
// moment. The address ends in `#tour` or `#tour-STEP`, so that a step can be linked to.

import { element } from "./elements.js";
import { Explanation } from "./explanation.js";
import { heading, sentence } from "./words.js";

// The steps of a network's tour: an activation is one of its own.
export function stepsOf(model) {
  const inside = model.layers.flatMap((layer) => {
    const activated = layer.kind !== "activation" && layer.activation && layer.activation !== "linear";
    return activated ? [{ model, layer, step: "sum" }, { model, layer, step: "activation" }] : [{ model, layer }];
  });
  return [{ model, step: "pixels" }, ...inside, { model, step: "softmax" }];
}

export class Tour {
  constructor(section, models) {
    this.section = section;
    this.models = models;
    this.model = models[0];
    this.at = 0;
    this.latest = null;
    const find = (name) => section.querySelector(name);
    this.title = find("h2");
    this.words = find(".words");
    this.list = find("ol");
    [this.back, this.next] = [find(".back"), find(".next")];
    this.explanation = new Explanation(find(".explanation"));
    this.back.addEventListener("click", () => this.go(this.at - 1));
    this.next.addEventListener("click", () => this.go(this.at + 1));
    this.choice = find("select");
    this.choice.replaceChildren(...models.map((model) =>
      element("option", model.workflow, { value: model.name })));
    this.choice.parentElement.hidden = models.length < 2;
    this.choice.addEventListener("change", () => {
      this.model = models.find((model) => model.name === this.choice.value);
      this.go(this.at);
    });
    window.addEventListener("hashchange", () => this.follow());
  }

  get isOpen() {
    return document.body.classList.contains("touring");
  }

  // Opens or closes the tour as the address says.
  follow() {
    const [, step] = location.hash.match(/^#tour(?:-(\d+))?$/) ?? [null, null];
    const open = location.hash.startsWith("#tour");
    document.body.classList.toggle("touring", open);
    this.section.hidden = !open;
    if (!open) return this.explanation.clear();
    this.steps = stepsOf(this.model);
    this.at = Math.min(Math.max((step ?? 1) - 1, 0), this.steps.length - 1);
    this.draw();
  }

  go(at) {
    const last = stepsOf(this.model).length - 1;
    const hash = `#tour-${Math.min(Math.max(at, 0), last) + 1}`;
    if (location.hash === hash) this.follow();
    else location.hash = hash;
  }

  // Shows the step for another image, or for none.
  show(latest) {
    this.latest = latest;
    if (this.isOpen) this.draw();
  }

  draw() {
    const step = this.steps[this.at];
    this.title.textContent = `${this.at + 1}. ${heading(step.layer, step.step)}`;
    this.words.textContent = sentence(step.model, step.layer, step.step);
    this.back.disabled = this.at === 0;
    this.next.disabled = this.at === this.steps.length - 1;
    this.list.replaceChildren(...this.steps.map(({ layer, step: name }, i) => {
      const text = ["pixels", "softmax"].includes(name) ? name : name === "activation" ? layer.activation : layer.name;
      const item = element("li");
      const link = element("a", text, { href: `#tour-${i + 1}` });
      if (i === this.at) link.setAttribute("aria-current", "step");
      item.append(link);
      return item;
    }));
    if (this.latest) this.explanation.show(step, this.latest);
    else this.explanation.clear();
  }
}
