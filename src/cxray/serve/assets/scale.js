// The score on its scale: this film, the line, and where the validation films lay. And the people behind a line.

import { byId, draw, make, score } from "./dom.js";

const WIDTH = 300;
const MIDDLE = 62;
const REACH = 40;

const x = (value) => value * WIDTH;

// Square roots keep rare scores visible beside the tall ends.
function bars(counts, direction, kind) {
  const total = counts.reduce((sum, count) => sum + count, 0) || 1;
  const width = WIDTH / counts.length;
  return counts.map((count, k) => {
    const height = Math.sqrt(count / total) * REACH;
    const top = direction < 0 ? MIDDLE - 1 - height : MIDDLE + 1;
    return draw("rect", { class: kind, x: k * width + 0.5, width: width - 1, y: top, height });
  });
}

export function drawScale(host, { value, line, stored, evidence, positive }) {
  const svg = draw("svg", { viewBox: `-6 0 ${WIDTH + 12} 124`, role: "img" });
  svg.setAttribute("aria-label", `Score ${score(value)} on a scale from 0 to 1; the line is at ${score(line)}.`);
  if (evidence) svg.append(...bars(evidence.histogram_positive, -1, "with"), ...bars(evidence.histogram_negative, 1, "without"));
  svg.append(draw("line", { class: "axis", x1: 0, x2: WIDTH, y1: MIDDLE, y2: MIDDLE }));
  if (line !== stored) svg.append(draw("line", { class: "stored", x1: x(stored), x2: x(stored), y1: 18, y2: 106 }));
  svg.append(draw("line", { class: "cut", x1: x(line), x2: x(line), y1: 16, y2: 106 }));
  svg.append(label(x(line), 11, `line ${score(line)}`, line), draw("circle", { class: "film", cx: x(value), cy: MIDDLE, r: 6 }));
  svg.append(label(0, 121, "0", 0), label(WIDTH, 121, "1", 1), label(x(value), 121, `this film ${score(value)}`, value));
  if (value < 0.25) svg.querySelectorAll("text")[1].remove();
  if (value > 0.75) [...svg.querySelectorAll("text")].find((text) => text.textContent === "1").remove();
  host.replaceChildren(svg, ...(evidence ? [legend(positive, evidence)] : []));
}

function label(at, y, words, value) {
  const anchor = value < 0.2 ? "start" : value > 0.8 ? "end" : "middle";
  const text = draw("text", { x: at, y, "text-anchor": anchor, class: words.length > 1 ? "strong" : "" });
  text.textContent = words;
  return text;
}

function legend(positive, evidence) {
  const entry = (kind, words) => make("li", {}, make("i", { class: kind }), words);
  return make(
    "ul",
    { class: "legend" },
    entry("with", `${evidence.n_positive} validation films with ${positive}`),
    entry("without", `${evidence.n_negative} without`),
  );
}

// Shares of films with and without the finding that reach the line: counted where there is evidence, else as stored.
export function ratesAt(line, stored, evidence) {
  if (evidence) {
    const k = evidence.thresholds.findLastIndex((threshold) => threshold <= line + 1e-9);
    const exact = line === stored.value && stored.sensitivity !== null;
    return {
      sensitivity: exact ? stored.sensitivity : evidence.above_positive[k] / evidence.n_positive,
      falseAlarms: exact ? 1 - stored.specificity : evidence.above_negative[k] / evidence.n_negative,
    };
  }
  if (line !== stored.value || stored.sensitivity === null || stored.specificity === null) return null;
  return { sensitivity: stored.sensitivity, falseAlarms: 1 - stored.specificity };
}

export const about = (share) => {
  const hundred = 100 * share;
  if (hundred > 0 && hundred < 1) return "fewer than 1";
  if (hundred < 100 && hundred > 99) return "more than 99";
  return `about ${Math.round(hundred)}`;
};

// One hundred films like these, as squares, at the given share that carries the finding.
export function drawHundred(host, rates, withFinding, positive) {
  const found = Math.round(rates.sensitivity * withFinding);
  const alarms = Math.round(rates.falseAlarms * (100 - withFinding));
  const groups = [
    ["found", found, `above the line, with ${positive}`],
    ["missed", withFinding - found, `below, with ${positive}: missed`],
    ["alarm", alarms, "above the line, without: false alarm"],
    ["", 100 - withFinding - alarms, "below, without"],
  ];
  const squares = groups.flatMap(([kind, count]) => Array.from({ length: count }, () => make("i", { class: kind })));
  host.replaceChildren(
    make("div", { class: "people", "aria-hidden": "true" }, ...squares),
    make("ul", { class: "tally" }, ...groups.map(([kind, count, words]) => make("li", {}, make("i", { class: kind }), make("span", {}, make("b", {}, String(count)), ` ${words}`)))),
  );
}

export const clearHundred = () => byId("hundred").replaceChildren();
