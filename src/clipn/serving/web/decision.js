/** Scores, and how an answer is decided and explained: by the score's own rule or by a threshold. */

import { apart, fixed, probabilities } from "./numbers.js";

/**
 * What the page knows of each score: its name, what it is, whether it has a rule of its own, its
 * range where it has one, and how many digits tell two images apart.
 */
export const SCORES = {
  atd: {
    name: "ATD",
    about:
      "Agreeing to differ: what all classes together keep of their yes once each has heard its no.",
    hasRule: true,
    range: [0, 1],
    digits: 3,
  },
  ctw: {
    name: "CTW",
    about: "Competing to win: yes against no of the likeliest class.",
    hasRule: true,
    range: [0, 1],
    digits: 3,
  },
  msp: {
    name: "MSP",
    about: "Highest probability: the yes of the likeliest class. It has no rule of its own.",
    range: [0, 1],
    digits: 3,
  },
  max_logit: {
    name: "Max logit",
    about: "Likeness of the picture to the likeliest class. It has no rule of its own.",
    digits: 2,
  },
  energy: {
    name: "Energy",
    about: "Likeness of the picture to all classes together. It has no rule of its own.",
    digits: 2,
  },
  mcm: {
    name: "MCM",
    about: "Highest probability of the bare cosines. It has no rule of its own.",
    digits: 4,
  },
};

/**
 * Whether a picture is refused.
 * @param {object} answer An ImageAnswer of the service, decided by the score's own rule.
 * @param {?number} threshold Decides instead of the rule, unless null.
 */
export function isRefused(answer, threshold) {
  return threshold === null ? answer.is_ood : answer.score < threshold;
}

/**
 * One sentence on why a picture was named or refused.
 * @param {object} answer An ImageAnswer of the service.
 * @param {string} score Which score it holds.
 * @param {?number} threshold What decides, or null for the score's own rule.
 */
export function reasonOf(answer, score, threshold) {
  const reason = reasonOfDecision(answer, score, threshold);
  if (answer.p_value === null) return reason;
  return `${reason} Among the calibration pictures its p\u2011value is ${fixed(answer.p_value, 3)}.`;
}

function reasonOfDecision(answer, score, threshold) {
  if (threshold !== null) return reasonOfThreshold(answer, threshold, SCORES[score].digits);
  return score === "ctw" ? reasonOfCtw(answer) : reasonOfAtd(answer);
}

function reasonOfThreshold(answer, threshold, digits) {
  const [value, limit] = apart(answer.score, threshold, digits);
  if (answer.score < threshold) {
    return `Closest is “${answer.best_class}”, but the score ${value} is below the threshold ${limit}.`;
  }
  return `The score ${value} reaches the threshold ${limit}.`;
}

/** CTW refuses where the no of the likeliest class is above one half. */
function reasonOfCtw(answer) {
  const [best] = answer.classes;
  const [no, half] = probabilities(best.p_no, 0.5);
  return answer.is_ood
    ? `The no of “${best.name}” (${no}) outweighs its yes: it is above ${half}.`
    : `The no of “${best.name}” (${no}) does not outweigh its yes: it is not above ${half}.`;
}

/** ATD refuses where "none of these" gets more than any class keeps after its no. */
function reasonOfAtd(answer) {
  const kept = answer.classes.map(({ name, p_yes, p_no }) => ({ name, mass: p_yes * (1 - p_no) }));
  const largest = kept.reduce((best, one) => (one.mass > best.mass ? one : best));
  const [unknown, mass] = probabilities(1 - answer.score, largest.mass);
  return answer.is_ood
    ? `“None of these” gets ${unknown}, more than “${largest.name}” keeps after its no (${mass}).`
    : `“${largest.name}” keeps ${mass} after its no; “none of these” gets ${unknown}.`;
}

/**
 * Where a threshold starts that nobody has chosen yet: at one half of a probability, else in the
 * middle between the lowest and the highest score.
 * @param {string} score
 * @param {number[]} values The scores at hand.
 */
export function firstThreshold(score, values) {
  if (SCORES[score].range) return 0.5;
  return values.length ? (Math.min(...values) + Math.max(...values)) / 2 : 0;
}

