/** The page: class names and pictures in, a card for each picture out. */

import { ask, stopAsking } from "./asking.js";
import { hasCamera, setUpCamera } from "./camera.js";
import { Card } from "./cards.js";
import { parseClasses, writeClasses } from "./classes.js";
import { saveAs, toCsv } from "./csv.js";
import { SCORES } from "./decision.js";
import { hideProblem, showProblem } from "./notice.js";
import { count } from "./numbers.js";
import { Service, ServiceError } from "./service.js";
import { canReadClipboard, filesOfDrop, filesOfPaste, readClipboard } from "./sources.js";
import { COLUMNS, rows, state, threshold } from "./state.js";
import { show, strip } from "./view.js";

const TYPING_MILLISECONDS = 700;

const byId = (id) => document.getElementById(id);
const service = new Service();
let numImages = 0;

// The service

const goOn = () => ask(service, (error) => report(error, goOn));

function report(error, tryAgain) {
  if (!(error instanceof ServiceError)) throw error;
  if (error.status !== 401) return showProblem(error, tryAgain);
  if (service.token) byId("token-hint").textContent = "The service refused that token.";
  byId("token-form").hidden = false;
  byId("token").focus();
}

/** Learn what the service can do, and offer that. */
async function start() {
  hideProblem();
  try {
    const { version, detectors, limits } = await service.describe();
    const [detector] = detectors;
    if (!state.limits) state.score = detector.score;
    state.limits = limits;
    byId("about").textContent = `${detector.name} · clipn ${version}`;
    const options = detector.scores.map((score) => new Option(SCORES[score].name, score));
    byId("score").replaceChildren(...options);
    byId("classes").readOnly = !detector.takes_classes;
    if (!detector.takes_classes) byId("classes-hint").textContent = "This detector knows only these.";
    await offerClassSets(detector.default_class_set);
  } catch (error) {
    report(error, start);
  }
  goOn();
}

async function offerClassSets(byDefault) {
  const { class_sets: sets } = await service.classSets();
  byId("sets-field").hidden = !sets.length;
  const options = sets.map(({ name, num_classes }) =>
    new Option(`${name} (${count(num_classes, "class", "classes")})`, name));
  byId("sets").replaceChildren(new Option("a class set …", ""), ...options);
  if (byDefault && !byId("classes").value) await takeClassSet(byDefault);
}

function calibrationOf({ classes, score, threshold: bounds }) {
  if (!Array.isArray(bounds)) return null;
  return { score, bounds: new Map(classes.map((name, i) => [name, bounds[i]])) };
}

async function takeClassSet(name) {
  const set = await service.classSet(name);
  byId("sets").value = name;
  byId("classes").value = writeClasses(set.classes);
  if (set.score) state.score = set.score;
  // The line shows one threshold; where each class has its own, these decide instead of it.
  if (Number.isFinite(set.threshold)) {
    state.thresholds[state.score] = set.threshold;
    state.prefersThreshold = true;
  }
  takeClasses();
  state.calibrated = calibrationOf(set);
  if (state.calibrated) state.prefersThreshold = false;
  show();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  service.token = byId("token").value;
  byId("token").value = "";
  byId("token-form").hidden = true;
  byId("classes").focus();
  start();
});

// Classes

let typing;

function takeClasses() {
  clearTimeout(typing);
  const classes = parseClasses(byId("classes").value);
  if (JSON.stringify(classes) !== JSON.stringify(state.classes)) {
    [state.classes, state.calibrated] = [classes, null];
    for (const image of state.images) image.answers.clear();
    stopAsking();
  }
  goOn();
}

byId("classes").addEventListener("input", () => {
  clearTimeout(typing);
  byId("sets").value = "";
  typing = setTimeout(takeClasses, TYPING_MILLISECONDS);
});
byId("classes").addEventListener("change", takeClasses);
byId("sets").addEventListener("change", (event) => {
  const { value } = event.target;
  if (value) takeClassSet(value).catch((error) => report(error, () => takeClassSet(value)));
});

// Pictures

/** Add pictures; they are read at once, since a phone may soon take its files back. */
async function add(files) {
  for (const file of files) {
    const image = { id: numImages++, name: file.name, answers: new Map(), error: null };
    try {
      image.blob = new Blob([await file.arrayBuffer()], { type: file.type });
    } catch {
      image.blob = new Blob();
      image.error = "The browser cannot read this file.";
    }
    image.card = new Card(image, {
      onRemove: () => remove(image),
      onPoint: (isPointedAt) => strip.highlight(isPointedAt ? image.id : null),
    });
    state.images.push(image);
    byId("cards").append(image.card.element);
  }
  goOn();
}

function remove(image) {
  const position = state.images.indexOf(image);
  state.images.splice(position, 1);
  image.card.remove();
  const neighbour = state.images[position] ?? state.images.at(-1);
  (neighbour?.card.removeButton ?? byId("choose")).focus();
  show();
}

byId("remove-all").addEventListener("click", () => {
  for (const image of state.images) image.card.remove();
  state.images = [];
  stopAsking();
  hideProblem();
  byId("choose").focus();
  show();
});

byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = ""; // so that the same file can be chosen again
});

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");

document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  document.body.classList.remove("dragging");
  add(await filesOfDrop(event.dataTransfer));
});

document.addEventListener("paste", (event) => {
  const { clipboardData: clipboard, target } = event;
  // Spreadsheets copy cells as text and as a picture of them.
  if (target.matches("textarea, input") && clipboard.types.includes("text/plain")) return;
  const files = filesOfPaste(clipboard);
  if (!files.length) return;
  event.preventDefault();
  add(files);
});
byId("paste").hidden = !canReadClipboard();
byId("paste").addEventListener("click", async () => {
  hideProblem();
  try {
    const files = await readClipboard();
    if (files.length) return add(files);
    showProblem({ title: "No picture on the clipboard", message: "Copy one first." });
  } catch (error) {
    showProblem({ title: "The clipboard cannot be read", message: error.message });
  }
});

byId("open-camera").hidden = !hasCamera();
byId("open-camera").addEventListener("click", setUpCamera(byId("camera"), (file) => add([file])));

// The decision

byId("score").addEventListener("change", (event) => {
  state.score = event.target.value;
  stopAsking();
  goOn();
});

for (const choice of document.getElementsByName("decider")) {
  choice.addEventListener("change", () => {
    state.prefersThreshold = choice.value === "threshold";
    show();
  });
}

function moveThreshold(value) {
  state.thresholds[state.score] = value;
  state.prefersThreshold = true;
  show();
}

strip.onMove = (value) => moveThreshold(Number(value.toFixed(SCORES[state.score].digits)));
byId("threshold-value").addEventListener("change", (event) => {
  const text = event.target.value.trim().replace("\u2212", "-").replace(",", ".");
  if (text && Number.isFinite(Number(text))) moveThreshold(Number(text));
  event.target.value = threshold();
});

byId("download").addEventListener("click", () => saveAs("clipn.csv", toCsv(COLUMNS, rows())));

start();
