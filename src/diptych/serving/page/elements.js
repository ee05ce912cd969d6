// Small pieces of the page that several modules build.

export function element(name, text = "", properties = {}) {
  return Object.assign(document.createElement(name), { textContent: text }, properties);
}

export function row(kind, ...cells) {
  const line = element("tr");
  for (const cell of cells) {
    const place = element(kind);
    place.append(cell);
    line.append(place);
  }
  return line;
}

// A table whose first row names its columns.
export function table(className, ...names) {
  const made = element("table", "", { className });
  if (names.length) made.append(row("th", ...names));
  return made;
}

export function number(value) {
  const text = Math.abs(value) < 5e-4 && value !== 0 ? value.toExponential(1) : value.toFixed(3);
  return text.replace("-", "−");
}

export const count = (value) => value.toLocaleString("en");

// A number that is chosen with two buttons or typed; `choose` is called with it, counted from 0.
export function chooser(label, total, chosen, choose) {
  const field = element("input", "", { type: "number", min: 1, max: total, value: chosen + 1 });
  const go = (value) => {
    const next = Math.min(Math.max(Math.round(value) || 1, 1), total);
    field.value = next;
    choose(next - 1);
  };
  field.addEventListener("change", () => go(+field.value));
  const step = (by, sign, words) => {
    const button = element("button", sign, { type: "button" });
    button.setAttribute("aria-label", words);
    button.addEventListener("click", () => go(+field.value + by));
    return button;
  };
  const whole = element("div", "", { className: "chooser" });
  const name = element("label", `${label} `);
  name.append(field);
  whole.append(name, element("span", ` of ${count(total)}`),
    step(-1, "‹", `${label}: the one before`), step(1, "›", `${label}: the next`));
  whole.show = (value) => { field.value = value + 1; };
  return whole;
}

// Where a view writes how a number comes about; on a narrow screen it scrolls by itself.
export function readout() {
  const place = element("div", "", { className: "sum", tabIndex: 0 });
  place.setAttribute("role", "group");
  place.setAttribute("aria-label", "How it comes about");
  return place;
}
