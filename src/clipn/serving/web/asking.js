/** Gets the answers that are missing, one round at a time. */

import { askInBatches, tooLarge } from "./batches.js";
import { problemOfClasses } from "./classes.js";
import { SCORES } from "./decision.js";
import { hideProblem, waitForTurn } from "./notice.js";
import { isWaiting, state } from "./state.js";
import { show } from "./view.js";

const TOP_K = 10;

/** Stop asking; answers on their way are dropped. */
export function stopAsking() {
  state.asking?.abort();
  state.asking = null;
}

/**
 * Ask for all answers that are missing; a round that is under way goes on to them by itself.
 * @param {import("./service.js").Service} service
 * @param {(error: Error) => void} onError Gets what ends a round.
 */
export async function ask(service, onError) {
  show();
  if (state.asking || !canAsk()) return;
  const round = (state.asking = new AbortController());
  hideProblem();
  try {
    while (canAsk() && !round.signal.aborted) await askOnce(service, round.signal);
  } catch (error) {
    if (!round.signal.aborted) onError(error);
  }
  if (state.asking === round) state.asking = null;
  show();
}

const canAsk = () =>
  state.limits !== null &&
  state.classes.length > 0 &&
  problemOfClasses(state.classes, state.limits) === null &&
  state.images.some(isWaiting);

function askOnce(service, signal) {
  const { classes, limits, score } = state;
  for (const image of state.images) image.error ??= tooLarge(image, limits);
  const question = {
    classes,
    score,
    // The service wants one where there is no rule; which one matters to this page alone.
    threshold: SCORES[score].hasRule ? null : 0,
    topK: TOP_K,
  };
  show();
  return askInBatches(service, state.images.filter(isWaiting), question, limits, {
    signal,
    onAnswers: (images, answers) => {
      if (signal.aborted) return;
      images.forEach((image, i) => image.answers.set(score, answers[i]));
      show();
    },
    onError: (image, error) => {
      image.error = `${error.title}. ${error.message}`;
      show();
    },
    wait: (error) => waitForTurn(error, signal),
  });
}
