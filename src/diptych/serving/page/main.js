// The page: an image comes in, is changed, and every network's answer and layers are shown.

import * as api from "./api.js";
import { changed } from "./changes.js";
import { Detail } from "./detail.js";
import { Maps, showImage } from "./maps.js";
import { Pad } from "./pad.js";

const SAMPLES = 12;
const at = (id) => document.getElementById(id);
const form = at("changes");

let models = [];
let maps = null;
let source = null; // () => a promise of the image before the sliders, and of the answers if known
let latest = null; // what /layers answered last
let working = false;
let again = false;

const pad = new Pad(at("pad"), () => {
  at("pad-hint").hidden = true;
  source = drawn;
  refresh();
});
const detail = new Detail(at("detail"));

async function drawn() {
  return seen(await api.predictPicture(await pad.blob()));
}

function seen(answers) {
  return { image: answers.predictions[0].seen, answers };
}

// One round at a time; what changes meanwhile is shown in the next.
async function refresh() {
  if (working) {
    again = true;
    return;
  }
  working = true;
  do {
    again = false;
    try {
      await round();
    } catch (problem) {
      say(problem instanceof api.Refusal ? problem.message : "The server does not answer.");
    }
  } while (again);
  working = false;
}

async function round() {
  if (!source) return;
  const changes = Object.fromEntries(
    [...form.elements].filter((e) => e.name).map((e) => [e.name, e.type === "checkbox" ? e.checked : +e.value]));
  const before = await source();
  const image = changed(before.image, changes);
  const known = image === before.image ? before.answers : null;
  const [answers, layers] = await Promise.all([known ?? api.predict(image), api.layers(image)]);
  say("");
  showImage(at("seen"), image);
  showAnswers(answers);
  latest = layers;
  maps.show(layers.models);
}

function say(text) {
  at("message").textContent = text;
}

function buildAnswers() {
  const bars = models[0].classes.map(() =>
    '<li><span class="bar"></span><span class="class"></span></li>').join("");
  at("answers").replaceChildren(...models.map((model) => {
    const card = document.createElement("article");
    card.dataset.model = model.name;
    card.innerHTML = `<h2></h2><p class="note"></p><p class="answer">–</p><ol class="bars">${bars}</ol>`;
    card.querySelector("h2").textContent = model.workflow;
    const accuracy = model.test_accuracy === null ? "" : `, ${(100 * model.test_accuracy).toFixed(2)}% on the test set`;
    card.querySelector(".note").textContent = `${model.network}${accuracy}`;
    card.querySelectorAll(".class").forEach((place, i) => { place.textContent = model.classes[i]; });
    return card;
  }));
}

function showAnswers({ classes, predictions: [{ answers }] }) {
  for (const card of at("answers").children) {
    const { answer, probabilities } = answers[card.dataset.model];
    const share = probabilities[classes.indexOf(answer)];
    card.querySelector(".answer").textContent = answer;
    card.querySelector(".answer").dataset.share = `${(100 * share).toFixed(share > 0.9995 ? 0 : 1)}%`;
    card.querySelectorAll("li").forEach((bar, i) => {
      bar.style.setProperty("--share", probabilities[i]);
      bar.title = `${classes[i]}: ${(100 * probabilities[i]).toFixed(2)}%`;
      bar.classList.toggle("chosen", classes[i] === answer);
    });
  }
}

let firstSample = 0;

async function showSamples() {
  const samples = await api.samples(firstSample, SAMPLES);
  firstSample += SAMPLES;
  at("samples").replaceChildren(...samples.map((sample) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = `Test image ${sample.number}: ${sample.label}`;
    button.setAttribute("aria-label", button.title);
    showImage(button.appendChild(document.createElement("canvas")), sample.image);
    button.addEventListener("click", () => take(async () => ({ image: sample.image }), "A test image"));
    return button;
  }));
}

function take(from, words) {
  pad.clear();
  at("pad-hint").hidden = false;
  at("pad-hint").textContent = `${words}; draw here for your own`;
  source = from;
  refresh();
}

async function takePicture(file) {
  try {
    pad.show(await createImageBitmap(file));
    at("pad-hint").hidden = true;
  } catch {
    // The server reads more kinds of pictures than browsers show, and says what it does not read.
    pad.clear();
  }
  source = async () => seen(await api.predictPicture(file));
  refresh();
}

function showSettings() {
  for (const label of form.querySelectorAll("label")) {
    const output = label.querySelector("output");
    if (output) output.textContent = label.querySelector("input").value;
  }
  at("shuffle-note").hidden = !form.elements.shuffle.checked;
}

form.addEventListener("input", () => {
  showSettings();
  refresh();
});
form.addEventListener("reset", () => setTimeout(() => {
  showSettings();
  refresh();
}));
form.addEventListener("submit", (event) => event.preventDefault());
at("clear").addEventListener("click", () => {
  pad.clear();
  source = null;
  say("");
  at("pad-hint").hidden = false;
  at("pad-hint").textContent = "Draw here, or drop a picture";
});
at("pen").addEventListener("input", (event) => { pad.pen = +event.target.value; });
at("file").addEventListener("change", (event) => {
  if (event.target.files[0]) takePicture(event.target.files[0]);
  event.target.value = "";
});
at("more").addEventListener("click", () => showSamples().catch((problem) => say(problem.message)));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer.files[0];
  if (file) takePicture(file);
});

async function begin() {
  models = await api.models();
  document.body.dataset.models = models.length;
  buildAnswers();
  maps = new Maps(at("layers"), models, (model, layer, channel) => {
    if (latest) detail.open(model, layer, channel, latest.input, latest.models[model.name]);
  });
  showSettings();
  await showSamples().catch((problem) => say(problem.message));
  at("samples").firstElementChild?.click();
}

begin().catch((problem) => say(problem.message));
