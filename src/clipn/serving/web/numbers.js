/** Numbers as people read them. */

const MINUS = "\u2212";

/** A number with so many digits after the point. */
export const fixed = (value, digits) => value.toFixed(digits).replace("-", MINUS);

/**
 * Two numbers with as many digits as it takes to see which is larger.
 * @returns {[string, string]}
 */
export function apart(one, other, digits) {
  let more = digits;
  while (one !== other && fixed(one, more) === fixed(other, more) && more < 15) more += 1;
  return [fixed(one, more), fixed(other, more)];
}

/** Two probabilities; with more digits than two only where they would read the same. */
export function probabilities(one, other) {
  const both = [probability(one), probability(other)];
  return both[0] === both[1] ? apart(one, other, 3) : both;
}

/** A probability with two digits; never "1.00" or "0.00" for what is neither. */
export function probability(value) {
  if (value > 0 && value < 0.005) return "<0.01";
  if (value < 1 && value >= 0.995) return ">0.99";
  return fixed(value, 2);
}

/** A count with its word. */
export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** A file's size in megabytes. */
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e6 ? 2 : 1)} MB`;
