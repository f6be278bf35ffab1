/** What the page knows: pictures, their answers, and how they are to be decided. */

import { SCORES, firstThreshold, isRefused } from "./decision.js";
import { count } from "./numbers.js";

export const NONE_OF_THESE = "none of these";

export const state = {
  /**
   * In order of arrival: {id, name, blob, card, error, answers}. `error` says why there will be no
   * answer; `answers` maps a score's name to the service's ImageAnswer, for the present classes.
   */
  images: [],
  /** The class names. */
  classes: [],
  /** Which score is taken. */
  score: "atd",
  /** Whether a threshold decides where the score has a rule of its own. */
  prefersThreshold: false,
  /** The thresholds that somebody chose, by score. */
  thresholds: {},
  /**
   * Of classes with a calibrated threshold each: {score, bounds}, for which score, and a Map from
   * class to threshold; null for all others.
   */
  calibrated: null,
  /** The Limits of the service, once it has told them. */
  limits: null,
  /** While answers are asked for: what stops that. */
  asking: null,
};

/** Whether a picture still needs an answer. */
export const isWaiting = (image) => !errorOf(image) && !image.answers.has(state.score);

/** Why a picture has no answer, or null. */
export const errorOf = (image) => image.error ?? image.answers.get(state.score)?.error ?? null;

/** The pictures with an answer, as {image, answer}. */
export function answered() {
  return state.images
    .filter((image) => !errorOf(image) && image.answers.has(state.score))
    .map((image) => ({ image, answer: image.answers.get(state.score) }));
}

/** Where the line of the threshold stands, whether it decides or not. */
export function threshold() {
  const values = () => answered().map(({ answer }) => answer.score);
  return state.thresholds[state.score] ?? firstThreshold(state.score, values());
}

/** The calibrated thresholds of the classes for the present score, or null. */
export const boundsOfClasses = () =>
  state.calibrated?.score === state.score ? state.calibrated.bounds : null;

/** Whether something decides but the line: the classes' thresholds, or the score's rule. */
export const hasOwnDecision = () => boundsOfClasses() !== null || !!SCORES[state.score].hasRule;

/** Whether the line of the threshold decides. */
export const isLineDeciding = () => state.prefersThreshold || !hasOwnDecision();

/** The threshold that decides about an answer, if there is one; null: the score's own rule does. */
export const limitOf = (answer) =>
  isLineDeciding() ? threshold() : (boundsOfClasses()?.get(answer?.best_class) ?? null);

/** One sentence on all pictures. */
export function summary() {
  const all = answered();
  const refused = all.filter(({ answer }) => isRefused(answer, limitOf(answer))).length;
  const failed = state.images.filter(errorOf).length;
  const waiting = state.images.length - all.length - failed;
  const parts = [];
  if (all.length) parts.push(`${all.length - refused} named`, `${refused} ${NONE_OF_THESE}`);
  if (failed) parts.push(`${failed} without an answer`);
  if (waiting) parts.push(state.classes.length ? `${waiting} waiting` : "class names are missing");
  return `${count(state.images.length, "picture")}: ${parts.join(", ")}.`;
}

/** The present results, a row a picture; columns as `clipn detect --csv` has them, and three more. */
export const COLUMNS = [
  ...["image", "label", "score", "is_ood", "best_class", "error", "p_value"],
  ...["score_name", "rule", "threshold"],
];

export function rows() {
  const isByThreshold = isLineDeciding() || boundsOfClasses() !== null;
  return state.images.map((image) => {
    const answer = image.answers.get(state.score);
    const error = errorOf(image) ?? (answer ? null : "not answered yet");
    const limit = limitOf(answer);
    const refused = error ? null : isRefused(answer, limit);
    return {
      image: image.name,
      label: error ? null : refused ? NONE_OF_THESE : answer.best_class,
      score: error ? null : answer.score,
      is_ood: error ? null : refused ? "True" : "False",
      best_class: error ? null : answer.best_class,
      error,
      p_value: error ? null : answer.p_value,
      score_name: state.score,
      rule: isByThreshold ? "threshold" : state.score,
      threshold: limit,
    };
  });
}
