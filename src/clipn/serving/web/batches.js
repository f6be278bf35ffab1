/** Pictures go to the service in requests that it can take, one after the other. */

import { megabytes } from "./numbers.js";
import { ServiceError } from "./service.js";

/** Of the headers of one part of a form; a file's name comes on top. */
const PART_BYTES = 300;

const lengthOf = (text) => new Blob([text]).size;

/**
 * Say why a picture cannot be sent as it is.
 * @param {{blob: Blob}} image
 * @param {object} limits Limits of the service.
 * @returns {?string} The reason, or null.
 */
export function tooLarge({ blob }, limits) {
  const most = Math.min(limits.image_bytes, limits.body_bytes);
  if (blob.size <= most) return null;
  return `It has ${megabytes(blob.size)}; the service takes up to ${megabytes(most)} a picture.`;
}

/**
 * Split pictures into requests within the limits.
 * @param {{name: string, blob: Blob}[]} images None larger than a request may be.
 * @param {string[]} classes Travel with each request.
 * @param {object} limits Limits of the service.
 */
export function* batchesOf(images, classes, limits) {
  const form = classes.reduce((sum, name) => sum + PART_BYTES + lengthOf(name), 4 * PART_BYTES);
  let batch = [];
  let bytes = form;
  for (const image of images) {
    const more = PART_BYTES + lengthOf(image.name) + image.blob.size;
    if (batch.length && (batch.length === limits.images || bytes + more > limits.body_bytes)) {
      yield batch;
      batch = [];
      bytes = form;
    }
    batch.push(image);
    bytes += more;
  }
  if (batch.length) yield batch;
}

/**
 * Ask for all pictures; wait where the service says so; hand over answers as they come.
 * @param {import("./service.js").Service} service
 * @param {object[]} images
 * @param {object} question See `Service.detect`.
 * @param {object} limits Limits of the service.
 * @param {{signal: AbortSignal, onAnswers: Function, onError: Function, wait: Function}} options
 *     `onAnswers(images, answers)`; `onError(image, error)` for a picture that is refused alone;
 *     `wait(error)` resolves when to try again.
 * @throws {ServiceError} If going on makes no sense.
 */
export async function askInBatches(service, images, question, limits, options) {
  const waiting = [...batchesOf(images, question.classes, limits)];
  while (waiting.length) {
    const batch = waiting.shift();
    try {
      const { answers } = await service.detect(batch, question, options.signal);
      options.onAnswers(batch, answers);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      if (error.status === 503 && error.retryAfter !== null) {
        waiting.unshift(batch);
        await options.wait(error);
      } else if (error.status === 413 && batch.length > 1) {
        // Something on the way takes less than the service: find out how much.
        const half = Math.ceil(batch.length / 2);
        waiting.unshift(batch.slice(0, half), batch.slice(half));
      } else if (error.status === 413 || error.status === 415) {
        options.onError(batch[0], error);
      } else {
        throw error;
      }
    }
  }
}
