// The films of this sitting: a table sorted by score, with flags, kept in step while answers come in.

import { byId, make, score } from "./dom.js";

const GATE_WORDS = { outside: "unlike its films", not_radiograph: "no radiograph" };
const STATE_WORDS = { waiting: "waiting", scoring: "scoring…" };

export class Worklist extends EventTarget {
  constructor() {
    super();
    this.films = [];
    this.line = null;
    this.order = { by: "score", descending: true };
    this.seats = { A: null, B: null };
    for (const header of document.querySelectorAll("th[data-sort]")) {
      header.querySelector("button").addEventListener("click", () => this.sortBy(header.dataset.sort));
    }
    byId("films").addEventListener("keydown", (event) => this.key(event));
  }

  add(files) {
    const added = [...files].map((file) => ({ file, name: file.name || "film", state: "waiting" }));
    this.films.push(...added);
    this.render();
    return added;
  }

  update(film, changes) {
    Object.assign(film, changes);
    this.schedule();
  }

  clear() {
    this.films = [];
    this.seats = { A: null, B: null };
    this.render();
  }

  seat(letter, film) {
    this.seats[letter] = film;
    this.schedule();
  }

  setLine(value) {
    this.line = value;
    this.schedule();
  }

  sortBy(column) {
    const descending = this.order.by === column ? !this.order.descending : column === "score";
    this.order = { by: column, descending };
    for (const header of document.querySelectorAll("th[data-sort]")) {
      const direction = descending ? "descending" : "ascending";
      header.setAttribute("aria-sort", header.dataset.sort === column ? direction : "none");
    }
    this.render();
  }

  // Films with a score in order; those without one keep the end of the list.
  sorted() {
    const sign = this.order.descending ? -1 : 1;
    const value = (film) => (this.order.by === "name" ? film.name : film.answer.score);
    const compare = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * sign;
    const scored = this.films.filter((film) => film.answer);
    return [...scored.sort(compare), ...this.films.filter((film) => !film.answer)];
  }

  neighbour(film, step) {
    const list = this.sorted().filter((one) => one.answer);
    return list[Math.min(list.length - 1, Math.max(0, list.indexOf(film) + step))];
  }

  isAbove(film) {
    return this.line !== null && film.answer.score >= this.line;
  }

  // Many answers may arrive within one frame; the table is built once for all of them.
  schedule() {
    if (this.isScheduled) return;
    this.isScheduled = true;
    requestAnimationFrame(() => {
      this.isScheduled = false;
      this.render();
    });
  }

  render() {
    const focused = document.activeElement?.closest?.("#films tr")?.film;
    byId("rows").hidden = byId("list-actions").hidden = this.films.length === 0;
    byId("films").replaceChildren(...this.sorted().map((film) => this.row(film)));
    if (focused) [...byId("films").rows].find((row) => row.film === focused)?.querySelector("button")?.focus();
    byId("summary").textContent = this.summary();
    byId("export").disabled = !this.films.some((film) => film.answer || film.refusal);
  }

  row(film) {
    const open = () => film.answer && this.dispatchEvent(new CustomEvent("open", { detail: film }));
    const seat = Object.keys(this.seats).find((letter) => this.seats[letter] === film && this.seats.B);
    const row = make(
      "tr",
      {
        "aria-selected": String(film === this.seats.A || film === this.seats.B),
        class: film.answer && this.isAbove(film) ? "above" : "",
        onclick: open,
      },
      make("td", {}, this.nameCell(film), seat ? make("span", { class: "seat" }, seat) : null, this.reason(film)),
      make("td", {}, ...this.scoreCell(film)),
      make("td", {}, ...this.flags(film)),
    );
    row.film = film;
    return row;
  }

  nameCell(film) {
    return film.answer ? make("button", { type: "button", class: "open" }, film.name) : make("span", {}, film.name);
  }

  reason(film) {
    if (!film.refusal) return null;
    const { title, detail, nextStep } = film.refusal;
    return make("span", { class: "reason" }, `${title}${detail && detail !== title ? ` ${detail}` : ""} ${nextStep}`);
  }

  scoreCell(film) {
    if (!film.answer) return [make("span", { class: "reason" }, STATE_WORDS[film.state] || "no score")];
    const fill = make("i");
    fill.style.width = `${100 * film.answer.score}%`;
    return [make("span", { class: "number" }, score(film.answer.score)), make("span", { class: "bar", "aria-hidden": "true" }, fill)];
  }

  flags(film) {
    if (film.refusal) return [make("span", { class: "flag warn" }, "refused")];
    if (!film.answer) return [];
    const flags = [];
    if (this.line !== null) {
      const above = this.isAbove(film);
      flags.push(make("span", { class: `flag ${above ? "above" : "below"}` }, above ? "above" : "below"));
    }
    const word = GATE_WORDS[film.answer.gate.verdict];
    if (word) flags.push(make("br"), make("span", { class: "flag warn" }, word));
    return flags;
  }

  summary() {
    const scored = this.films.filter((film) => film.answer);
    const refused = this.films.filter((film) => film.refusal).length;
    const left = this.films.length - scored.length - refused;
    if (!this.films.length) return "";
    const parts = [`${this.films.length} ${this.films.length === 1 ? "film" : "films"}`];
    if (left) parts.push(`${left} to go`);
    if (this.line !== null && scored.length) parts.push(`${scored.filter((film) => this.isAbove(film)).length} above the line`);
    if (refused) parts.push(`${refused} refused`);
    return parts.join(" · ");
  }

  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("tr");
    if (!step || !row) return;
    event.preventDefault();
    let next = row;
    do next = step > 0 ? next.nextElementSibling : next.previousElementSibling;
    while (next && !next.querySelector("button"));
    next?.querySelector("button").focus();
  }
}
