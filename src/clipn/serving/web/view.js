/** Puts what the page knows on the screen. */

import { problemOfClasses } from "./classes.js";
import { SCORES, isRefused, reasonOf } from "./decision.js";
import { count, fixed } from "./numbers.js";
import {
  NONE_OF_THESE, answered, boundsOfClasses, errorOf, hasOwnDecision, isLineDeciding, isWaiting,
  limitOf, state, summary, threshold,
} from "./state.js";
import { Strip } from "./strip.js";

const SPEAKING_MILLISECONDS = 500;

const byId = (id) => document.getElementById(id);

/** The dots and the line; app.js says what moving the line does. */
export const strip = new Strip({
  svg: byId("dots"),
  range: byId("threshold"),
  low: byId("low"),
  high: byId("high"),
});

/** Bring the whole page up to date. */
export function show() {
  showClasses();
  showDecision();
  for (const image of state.images) showCard(image);
  showSummary();
}

function showClasses() {
  const problem = problemOfClasses(state.classes, state.limits);
  const number = state.classes.length;
  byId("classes").setAttribute("aria-invalid", problem !== null);
  byId("classes-count").textContent = problem ?? (number ? count(number, "class", "classes") : "");
}

function showDecision() {
  const all = answered();
  byId("how").hidden = state.images.length > 0;
  byId("decision").hidden = !state.images.length || (!all.length && byId("decision").hidden);
  const { about, digits } = SCORES[state.score];
  const isByLine = isLineDeciding();
  byId("score").value = state.score;
  byId("score-about").textContent = about;
  const [byRule, byThreshold] = document.getElementsByName("decider");
  byRule.disabled = !hasOwnDecision();
  byRule.nextElementSibling.textContent = boundsOfClasses() ? "its calibration" : "its own rule";
  [byRule.checked, byThreshold.checked] = [!isByLine, isByLine];
  byId("strip").classList.toggle("idle", !isByLine);
  byId("strip").setAttribute("aria-busy", !all.length);
  if (!all.length) return; // the former scores stay until the new ones come
  if (document.activeElement !== byId("threshold-value")) {
    byId("threshold-value").value = Number(threshold().toFixed(digits));
  }
  const points = all.map(({ image, answer }) => ({
    id: image.id,
    value: answer.score,
    refused: isRefused(answer, limitOf(answer)),
  }));
  strip.show(points, { score: state.score, threshold: threshold(), spoken: spokenOf(points) });
}

/** What a screen reader says of the threshold's line. */
function spokenOf(points) {
  const value = fixed(threshold(), SCORES[state.score].digits);
  if (!isLineDeciding()) {
    const decider = boundsOfClasses() ? "each class has a threshold" : "the score's own rule decides";
    return `${value}, not in use: ${decider}`;
  }
  const refused = points.filter((point) => point.refused).length;
  return `${value}: ${refused} of ${count(points.length, "picture")} refused`;
}

function showCard(image) {
  const error = errorOf(image);
  if (error) return image.card.showError(error);
  if (isWaiting(image)) return image.card.showWaiting(waitingFor());
  const answer = image.answers.get(state.score);
  const limit = limitOf(answer);
  const refused = isRefused(answer, limit);
  return image.card.showAnswer(answer, {
    refused,
    label: refused ? NONE_OF_THESE : answer.best_class,
    score: `score ${fixed(answer.score, SCORES[state.score].digits)}`,
    why: reasonOf(answer, state.score, limit),
  });
}

function waitingFor() {
  if (state.asking) return "looking …";
  return state.classes.length ? "no answer yet" : "waiting for class names";
}

function showSummary() {
  const total = state.images.length;
  byId("results-head").hidden = !total;
  byId("summary").textContent = total ? summary() : "";
  byId("progress").hidden = !state.asking;
  byId("progress").max = total || 1;
  byId("progress").value = total - state.images.filter(isWaiting).length;
  if (!state.asking) speak(total ? summary() : "");
}

/** Tell a screen reader, once things have settled. */
const speak = (() => {
  let timer;
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      byId("said").textContent = text;
    }, SPEAKING_MILLISECONDS);
  };
})();
