// The panel beside a film: its score, the decision, the gate's verdict, and what the line means.

import { byId, facts, make, score } from "./dom.js";
import { about, clearHundred, drawHundred, drawScale, ratesAt } from "./scale.js";

const GATE = {
  outside: "This film is unlike those the model was judged on. Its score may mean nothing.",
  not_radiograph: "This does not look like a chest radiograph. Its score means nothing.",
};

export class Reading extends EventTarget {
  constructor() {
    super();
    this.film = null;
    this.model = null;
    this.evidence = null;
    this.line = null;
    byId("threshold").addEventListener("input", () => this.setLine(Number(byId("threshold").value)));
    byId("threshold-back").addEventListener("click", () => this.setLine(this.stored.value));
    byId("prevalence").addEventListener("input", () => this.render());
  }

  get stored() {
    return this.model?.thresholds?.[this.model.positive] || null;
  }

  setModel(model, evidence) {
    this.model = model;
    this.evidence = evidence;
    this.line = this.stored ? this.stored.value : null;
    if (evidence) {
      const share = (100 * evidence.n_positive) / (evidence.n_positive + evidence.n_negative);
      byId("prevalence").value = String(Math.round(Math.min(99, Math.max(1, share))));
    }
    this.render();
  }

  setLine(value) {
    this.line = value;
    this.render();
    this.dispatchEvent(new CustomEvent("line", { detail: value }));
  }

  show(film) {
    this.film = film;
    byId("reading").hidden = !film;
    this.render();
  }

  render() {
    if (!this.film) return;
    byId("result").replaceChildren(...this.result(this.film.answer));
    this.renderLine(this.film.answer);
    this.renderFacts(this.film.answer);
  }

  result(answer) {
    const { positive } = this.model;
    const isAbove = this.line !== null && answer.score >= this.line;
    const isTried = this.stored && this.line !== this.stored.value;
    const call = isTried ? `${isAbove ? "Above" : "Below"} the line you try` : `${isAbove ? "Above" : "Below"} the line: ${answer.decision || "nothing called"}`;
    return [
      make("p", { class: "answer" }, make("span", { class: "big" }, score(answer.score)), this.line === null ? null : make("span", { class: `call ${isAbove ? "above" : "below"}` }, call)),
      make("p", { class: "quiet" }, positive ? `Calibrated probability of ${positive}` : "Highest calibrated probability"),
      this.gate(answer.gate),
      this.otherScores(answer),
    ].filter(Boolean);
  }

  gate({ verdict, reason }) {
    if (verdict === "inside") return make("p", { class: "gate" }, "The film is like those the model was judged on.");
    if (verdict) return make("p", { class: "gate warn" }, `${GATE[verdict] ?? reason}`);
    return make("p", { class: "gate" }, "This bundle has no input gate: whether the film is one the model may judge was not checked.");
  }

  otherScores(answer) {
    const rows = Object.entries(answer.scores).filter(([name]) => name !== this.model.positive || this.model.task === "findings");
    if (rows.length < 2) return null;
    return make("ul", { class: "scores" }, ...rows.map(([name, value]) => make("li", {}, make("span", {}, name), make("span", { class: "number" }, score(value)))));
  }

  renderLine(answer) {
    const stored = this.stored;
    byId("line").hidden = !stored;
    if (!stored) return;
    const { positive } = this.model;
    drawScale(byId("scale"), { value: answer.score, line: this.line, stored: stored.value, evidence: this.evidence, positive });
    byId("try").hidden = !this.evidence;
    byId("threshold").value = String(this.line);
    byId("threshold-value").textContent = score(this.line);
    byId("threshold-back").hidden = this.line === stored.value;
    const rates = ratesAt(this.line, stored, this.evidence);
    byId("prevalence-row").hidden = !rates;
    byId("meaning").replaceChildren(...meaning(rates, positive));
    byId("source").textContent = source(stored, this.evidence);
    const share = Number(byId("prevalence").value);
    byId("prevalence-value").textContent = String(share);
    if (rates) drawHundred(byId("hundred"), rates, share, positive);
    else clearHundred();
  }

  renderFacts(answer) {
    const { film } = answer;
    const milliseconds = Object.entries(answer.seconds).map(([stage, seconds]) => `${stage} ${Math.round(1000 * seconds)} ms`);
    facts(byId("facts"), [
      ["Stored as", `${film.kind.toUpperCase()}, ${film.width} × ${film.height} pixels, ${film.bits} bit`],
      ["Read", film.facts.length ? film.facts.join("; ") : "as it is"],
      ["Model", `${answer.model.name} (${answer.model.identifier})`],
      ["Time", milliseconds.join(", ")],
      ["Request", answer.request_id],
    ]);
  }
}

function meaning(rates, positive) {
  if (!rates) return ["How films with and without it lie about this line was not stored with the bundle."];
  const bold = (share) => make("b", {}, about(share));
  return ["Of 100 such films with ", positive, ", ", bold(rates.sensitivity), " lie above the line; of 100 without, ", bold(rates.falseAlarms), " do."];
}

function source(stored, evidence) {
  const films = `${stored.n_positive + stored.n_negative} ${stored.split} films (${stored.n_positive} with, ${stored.n_negative} without)`;
  const policy = `The stored line was chosen by the rule ${stored.policy} on ${films}`;
  return `${policy}; on the films it was chosen on it looks a little better than it is.${evidence ? "" : " Their scores are not at hand here, so no other line can be tried."}`;
}
