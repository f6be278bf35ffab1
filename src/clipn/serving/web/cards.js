/** One card a picture: what it shows, why, and what the likeliest classes say. */

import { probability } from "./numbers.js";

const NUM_CLASSES = 3;
const SMALL_PIXELS = 160;

const template = document.querySelector("#card");

export class Card {
  #answer = null;

  /**
   * @param {{id: number, name: string, blob: Blob}} image
   * @param {{onRemove: Function, onPoint: (isPointedAt: boolean) => void}} options
   */
  constructor(image, { onRemove, onPoint }) {
    this.element = template.content.cloneNode(true).firstElementChild;
    const [label, name] = [this.#part(".label"), this.#part(".name")];
    [label.id, name.id] = [`label-${image.id}`, `name-${image.id}`];
    this.#part("article").setAttribute("aria-labelledby", `${name.id} ${label.id}`);
    name.textContent = image.name;
    this.removeButton = this.#part(".remove");
    this.removeButton.setAttribute("aria-label", `Remove ${image.name}`);
    this.removeButton.addEventListener("click", onRemove);
    for (const event of ["pointerenter", "focusin"]) {
      this.element.addEventListener(event, () => onPoint(true));
    }
    for (const event of ["pointerleave", "focusout"]) {
      this.element.addEventListener(event, () => onPoint(false));
    }
    this.#showPicture(image);
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  #showPicture({ name, blob }) {
    const picture = this.#part("img");
    picture.alt = name;
    picture.addEventListener("load", () => {
      picture.classList.toggle("small", picture.naturalWidth < SMALL_PIXELS);
    });
    // TIFF, for one, is read by the service but by few browsers.
    picture.addEventListener("error", () => this.#part(".picture").classList.add("blind"));
    this.address = URL.createObjectURL(blob);
    picture.src = this.address;
  }

  /** Say that an answer is on its way; the former one stays, dimmed, until it comes. */
  showWaiting(text) {
    const article = this.#part("article");
    article.setAttribute("aria-busy", "true");
    if (this.#answer === null) this.#say({ kind: "waiting", label: text, score: "", why: "" });
  }

  /** Say why there is no answer. */
  showError(reason) {
    this.#answer = null;
    this.#part("table").hidden = true;
    const why = reason[0].toUpperCase() + reason.slice(1);
    this.#say({ kind: "failed", label: "no answer", score: "", why });
  }

  /**
   * Show an answer.
   * @param {object} answer An ImageAnswer of the service.
   * @param {{refused: boolean, label: string, score: string, why: string}} view
   */
  showAnswer(answer, { refused, label, score, why }) {
    if (answer !== this.#answer) this.#showClasses(answer.classes);
    this.#answer = answer;
    this.#say({ kind: refused ? "refused" : "named", label, score, why });
  }

  #say({ kind, label, score, why }) {
    const article = this.#part("article");
    article.dataset.kind = kind;
    if (kind !== "waiting") article.removeAttribute("aria-busy");
    this.#part(".label").textContent = label;
    this.#part(".score").textContent = score;
    this.#part(".why").textContent = why;
  }

  #showClasses(classes) {
    const hasNo = classes.some(({ p_no }) => p_no !== null);
    const rows = classes.slice(0, NUM_CLASSES).map(({ name, p_yes, p_no }) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = head.title = name;
      row.append(head, bar(p_yes, "yes"));
      if (hasNo) row.append(bar(p_no, "no"));
      return row;
    });
    this.#part("thead .no").hidden = !hasNo;
    this.#part("tbody").replaceChildren(...rows);
    this.#part("table").hidden = false;
  }

  /** Take the card off the page and let go of its picture. */
  remove() {
    URL.revokeObjectURL(this.address);
    this.element.remove();
  }
}

function bar(share, kind) {
  const cell = document.createElement("td");
  cell.className = kind;
  cell.textContent = probability(share);
  const length = document.createElement("span");
  length.className = "bar";
  length.style.setProperty("--share", share);
  cell.append(length);
  return cell;
}
