/** Where the scores lie: a dot a picture, and the threshold as a line to be moved through them. */

import { SCORES } from "./decision.js";

const SVG = "http://www.w3.org/2000/svg";
const DOT = { radius: 4.5, gap: 10 };

/** Room on both sides, as a share of what lies between the lowest and the highest score. */
const MARGIN = 0.08;

export class Strip {
  #values = [];
  #bounds = [0, 1];
  #points = [];
  #highlighted = null;

  /** Called with the threshold while the line is moved. */
  onMove = () => {};

  /**
   * @param {{svg: SVGElement, range: HTMLInputElement, low: Element, high: Element}} elements
   */
  constructor({ svg, range, low, high }) {
    Object.assign(this, { svg, range, low, high });
    range.addEventListener("input", () => this.onMove(Number(range.value)));
    new ResizeObserver(() => this.#draw()).observe(svg);
  }

  /**
   * Show scores and threshold.
   * @param {{id: number, value: number, refused: boolean}[]} points
   * @param {{score: string, threshold: number, spoken: string}} view `spoken` is what a screen
   *     reader says of the line.
   */
  show(points, { score, threshold, spoken }) {
    this.#points = [...points].sort((one, other) => one.value - other.value);
    const values = this.#points.map(({ value }) => value);
    // Else the scale would slide away under a line that is being moved.
    if (score !== this.score || String(values) !== String(this.#values)) {
      this.#bounds = boundsOf(values, SCORES[score]);
    }
    this.score = score;
    this.#values = values;
    this.#bounds = [Math.min(this.#bounds[0], threshold), Math.max(this.#bounds[1], threshold)];
    [this.range.min, this.range.max] = this.#bounds;
    this.range.value = threshold;
    this.range.setAttribute("aria-valuetext", spoken);
    const digits = SCORES[score].range ? 0 : SCORES[score].digits;
    [this.low.textContent, this.high.textContent] = this.#bounds.map((end) => end.toFixed(digits));
    this.#draw();
  }

  /** Make one picture's dot stand out, or none. */
  highlight(id) {
    this.#highlighted = id;
    this.#draw();
  }

  #draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    const [lowest, highest] = this.#bounds;
    const rightmost = [];
    const dots = this.#points.map(({ id, value, refused }) => {
      const x = ((value - lowest) / (highest - lowest)) * width;
      const free = rightmost.findIndex((before) => x - before >= DOT.gap);
      const row = free < 0 ? rightmost.length : free;
      rightmost[row] = x;
      return { id, x, row, refused };
    });
    // As high as there is room: beyond, dots cover each other.
    const step = Math.min(DOT.gap, (height - DOT.gap) / Math.max(1, rightmost.length - 1));
    this.svg.replaceChildren(
      ...dots.map(({ id, x, row, refused }) => {
        const dot = document.createElementNS(SVG, "circle");
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", height - DOT.gap / 2 - row * step);
        dot.setAttribute("r", id === this.#highlighted ? 1.6 * DOT.radius : DOT.radius);
        dot.classList.toggle("refused", refused);
        dot.classList.toggle("highlighted", id === this.#highlighted);
        return dot;
      }),
    );
  }
}

function boundsOf(values, { range, digits }) {
  if (range) return range;
  if (!values.length) return [0, 1];
  const [lowest, highest] = [values[0], values.at(-1)];
  const margin = Math.max(MARGIN * (highest - lowest), 5 * 10 ** -digits);
  return [lowest - margin, highest + margin];
}
