/** What went wrong, in place and in plain words, with a way to go on. */

const BUSY = 503;

const byId = (id) => document.getElementById(id);
const [box, title, detail, errors, button] = [
  "notice",
  "notice-title",
  "notice-detail",
  "notice-errors",
  "try-again",
].map(byId);

let onTryAgain = () => {};
button.addEventListener("click", () => onTryAgain());

/**
 * Show a problem.
 * @param {{title: string, message: string, errors?: object[]}} problem
 * @param {?Function} tryAgain What the button does; without it there is no button.
 */
export function showProblem(problem, tryAgain = null) {
  box.classList.toggle("wait", problem.status === BUSY);
  title.textContent = problem.title;
  detail.textContent = problem.message;
  const items = (problem.errors ?? []).map(({ pointer, detail: reason }) => {
    const item = document.createElement("li");
    item.textContent = `${pointer}: ${reason}`;
    return item;
  });
  errors.replaceChildren(...items);
  onTryAgain = tryAgain ?? (() => {});
  button.hidden = tryAgain === null;
  button.textContent = problem.status === BUSY ? "Ask now" : "Try again";
  box.hidden = false;
}

export function hideProblem() {
  box.hidden = true;
}

/**
 * Say that the service is busy, and wait as long as it asks for, or until somebody is impatient.
 * @param {import("./service.js").ServiceError} error
 * @param {AbortSignal} signal
 * @returns {Promise<void>} Resolves when to try again.
 */
export function waitForTurn(error, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      hideProblem();
    };
    const go = () => {
      stop();
      resolve();
    };
    const timer = setTimeout(go, 1000 * error.retryAfter);
    signal.addEventListener("abort", () => {
      stop();
      reject(signal.reason);
    });
    const when = `It is asked again in ${error.retryAfter} s.`;
    showProblem({ ...error, message: `${error.message} ${when}`.trim() }, go);
  });
}
