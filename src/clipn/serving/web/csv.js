/** Tables as CSV that spreadsheets open without running anything in them. */

/** What makes a spreadsheet take a text for a formula. */
const FORMULA = /^\s*[=+\-@]|^[\t\r]/;

const KEPT_MILLISECONDS = 10_000;

function cell(value) {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Write a table as RFC 4180 has it.
 * @param {string[]} columns
 * @param {object[]} rows With a value for each column: text, number or null.
 */
export function toCsv(columns, rows) {
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))];
  return lines.map((values) => `${values.map(cell).join(",")}\r\n`).join("");
}

/**
 * Let the browser save a text.
 * @param {string} name The file's name.
 * @param {string} text
 */
export function saveAs(name, text) {
  // The mark at the start tells spreadsheets that it is UTF-8.
  const address = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
  const link = document.createElement("a");
  [link.href, link.download] = [address, name];
  link.click();
  // Some browsers read it only after the click has been handled.
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MILLISECONDS);
}
