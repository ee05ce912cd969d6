// The page: an image comes in, is changed, and every network's answer and layers are shown.

import * as api from "./api.js";
import { changed } from "./changes.js";
import { Detail } from "./detail.js";
import { Maps, showImage } from "./maps.js";
import { Pad } from "./pad.js";
import { Tour } from "./tour.js";
import { answersOf, Training } from "./training.js";

const SAMPLES = 12;
const MOMENT = 1000; // Milliseconds between two looks at a training that goes on.
const at = (id) => document.getElementById(id);
const form = at("changes");

let models = [];
let maps = null;
let tour = null;
let training = null;
let source = null; // () => a promise of the image before the sliders
let latest = null; // what /layers answered last
let working = false;
let again = false;

const pad = new Pad(at("pad"), () => {
  at("pad-hint").hidden = true;
  take(drawn);
});
const detail = new Detail(at("detail"));

async function drawn() {
  return api.prepare(await pad.blob());
}

// One round at a time; what changes meanwhile is shown in the next.
async function refresh() {
  if (!maps) return; // The page is not ready; it takes the image up when it is.
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
      forget();
      say(problem instanceof api.Refusal ? problem.message : "The server does not answer.");
    }
  } while (again);
  working = false;
}

async function round() {
  const of = source;
  if (!of) return;
  const changes = Object.fromEntries(
    [...form.elements].filter((e) => e.name).map((e) => [e.name, e.type === "checkbox" ? e.checked : +e.value]));
  const before = await of();
  const image = changed(before, changes);
  const layers = await api.layers(image, training.step);
  if (source !== of) return; // Cleared, or another image, while the server computed.
  say("");
  showImage(at("seen"), image);
  showAnswers(answersOf(layers, models));
  latest = layers;
  maps.show(layers.models);
  tour.show(layers);
}

// Shows no answer: there is no image, or it was refused.
function forget() {
  latest = null;
  const seen = at("seen");
  seen.getContext("2d").clearRect(0, 0, seen.width, seen.height);
  for (const card of at("answers").children) {
    const answer = card.querySelector(".answer");
    answer.textContent = "–";
    delete answer.dataset.share;
    for (const bar of card.querySelectorAll("li")) {
      bar.style.removeProperty("--share");
      bar.removeAttribute("title");
      bar.classList.remove("chosen");
    }
    card.querySelector(".why").disabled = true;
  }
  maps.clear();
  tour.show(null);
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
    card.innerHTML = `<h2></h2><p class="note"></p><p class="answer">–</p><ol class="bars">${bars}</ol>
      <button type="button" class="why" disabled>How these shares come about</button>`;
    card.querySelector("h2").textContent = model.workflow;
    const accuracy = model.test_accuracy === null ? "" : `, ${(100 * model.test_accuracy).toFixed(2)}% on the test set`;
    card.querySelector(".note").textContent = `${model.network}${accuracy}; ${model.origin}`;
    card.querySelector(".why").addEventListener("click", () => detail.open({ model, step: "softmax" }, latest));
    card.querySelectorAll(".class").forEach((place, i) => { place.textContent = model.classes[i]; });
    return card;
  }));
}

function showAnswers(answers) {
  const { classes } = models[0];
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
    card.querySelector(".why").disabled = false;
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
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      blank("A test image; or draw here");
      take(async () => sample.image, button);
    });
    return button;
  }));
}

// Takes an image from another source; the test image that it is, if it is one, is marked.
function take(from, sample = null) {
  for (const button of at("samples").children) {
    button.setAttribute("aria-pressed", button === sample);
  }
  source = from;
  if (from) refresh();
}

// An empty drawing area with a hint.
function blank(words) {
  pad.clear();
  at("pad-hint").hidden = false;
  at("pad-hint").textContent = words;
}

async function takePicture(file) {
  try {
    pad.show(await createImageBitmap(file));
    at("pad-hint").hidden = true;
  } catch {
    // The server reads more kinds of pictures than browsers show, and says what it does not read.
    blank(`${file.name}; or draw here`);
  }
  take(() => api.prepare(file));
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
  blank("Draw here, or drop a picture");
  take(null);
  forget();
  say("");
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
  maps = new Maps(at("layers"), models, (model, layer, place) => {
    const chosen = layer.kind === "dense" ? { unit: place } : { channel: layer.kind === "flatten" ? 0 : place };
    if (latest) detail.open({ model, layer }, latest, chosen);
  });
  training = new Training(at("training"), models, refresh);
  if (training.isRunning) setTimeout(follow, MOMENT);
  tour = new Tour(at("tour"), models);
  tour.follow();
  showSettings();
  await showSamples().catch((problem) => say(problem.message));
  if (source) refresh();
  else at("samples").firstElementChild?.click();
}

// While a network is trained, shows what has come of it.
async function follow() {
  const { step } = training;
  try {
    training.update(await api.models());
  } catch (problem) {
    return say(problem instanceof api.Refusal ? problem.message : "The server does not answer.");
  }
  if (training.step !== step) refresh();
  if (training.isRunning) setTimeout(follow, MOMENT);
}

begin().catch((problem) => say(problem.message));
