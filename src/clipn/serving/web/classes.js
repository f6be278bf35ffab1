/** Class names as people type them: split by commas or lines, in quotes where a name has a comma. */

const NAME = /"([^"\n]+)"(?=\s*(?:,|\n|$))|[^,\n]+/g;

/** Two names are one class if only capitals and spaces tell them apart. */
const keyOf = (name) => name.split(/\s+/).join(" ").toLowerCase();

/**
 * Read a list of class names.
 * @param {string} text What was typed or pasted.
 * @returns {string[]} Each name once, in order.
 */
export function parseClasses(text) {
  const names = new Map();
  for (const [whole, quoted] of text.matchAll(NAME)) {
    const name = (quoted ?? whole).replace(/[\s\p{Cc}]+/gu, " ").trim();
    if (name && !names.has(keyOf(name))) names.set(keyOf(name), name);
  }
  return [...names.values()];
}

/**
 * Write class names so that `parseClasses` reads the same ones.
 * @param {string[]} names
 * @returns {string} One a line.
 */
export function writeClasses(names) {
  return names.map((name) => (name.includes(",") ? `"${name}"` : name)).join("\n");
}

/**
 * Say what the service would refuse about the class names.
 * @param {string[]} names
 * @param {?{classes: number, name_length: number}} limits Of the service, if known.
 * @returns {?string} What is wrong, or null.
 */
export function problemOfClasses(names, limits) {
  if (!limits) return null;
  if (names.length > limits.classes) {
    return `${names.length} classes; the service takes up to ${limits.classes}`;
  }
  const long = names.find((name) => [...name].length > limits.name_length);
  return long ? `“${long.slice(0, 24)}…” is longer than ${limits.name_length} characters` : null;
}
