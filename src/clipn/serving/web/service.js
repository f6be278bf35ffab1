/** The HTTP service, as the page speaks to it. */

/** What went wrong, in plain words, by status; the service's own sentence follows. */
const TITLES = {
  0: "The service cannot be reached",
  401: "The service wants a token",
  403: "This is not allowed",
  413: "Too much for the service",
  415: "The service does not take this kind of file",
  422: "The service did not accept this",
  429: "Too many requests",
  503: "The service is busy",
  504: "The service took too long",
};

/** An answer of the service that is an error, or no answer at all (status 0). */
export class ServiceError extends Error {
  /**
   * @param {number} status Of HTTP.
   * @param {object} problem A Problem of the service, or what is known of one.
   * @param {?number} retryAfter Seconds after which it may be tried again.
   */
  constructor(status, problem = {}, retryAfter = null) {
    super(problem.detail ?? "");
    this.status = status;
    this.title = TITLES[status] ?? problem.title ?? `The service failed (${status})`;
    this.errors = problem.errors ?? [];
    this.retryAfter = retryAfter;
  }
}

export class Service {
  /** Never stored: it is gone with the page. */
  token = "";

  /** The model and the limits: a DetectorList. */
  describe = () => this.#ask("v1/detectors");

  /** All class sets: a ClassSetList. */
  classSets = () => this.#ask("v1/classes");

  /** One ClassSet. */
  classSet = (name) => this.#ask(`v1/classes/${encodeURIComponent(name)}`);

  /**
   * Answers for images: a DetectResponse.
   * @param {{name: string, blob: Blob}[]} images
   * @param {{classes: string[], score: string, threshold: ?number, topK: number}} question
   * @param {AbortSignal} signal
   */
  detect(images, { classes, score, threshold, topK }, signal) {
    const form = new FormData();
    for (const name of classes) form.append("classes", name);
    form.append("score", score);
    form.append("top_k", topK);
    if (threshold !== null) form.append("threshold", threshold);
    for (const { blob, name } of images) form.append("images", blob, name);
    return this.#ask("v1/detect", { method: "POST", body: form, signal });
  }

  async #ask(path, options = {}) {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    let response;
    try {
      response = await fetch(path, { ...options, headers });
      if (response.ok) return await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError(0, { detail: "Is it still running, and are you online?" });
    }
    const problem = await response.json().catch(() => ({ detail: response.statusText }));
    const seconds = Number.parseFloat(response.headers.get("Retry-After"));
    throw new ServiceError(response.status, problem, Number.isFinite(seconds) ? seconds : null);
  }
}
