// One film on the screen: window, zoom, pan, inversion, heat map, the value under the pointer, and its keys.

import { CanvasRenderer } from "./canvas2d.js";
import { drawColourBar, reachOf } from "./colours.js";
import { FULL, presetsOf } from "./presets.js";
import { WebGLRenderer } from "./webgl.js";

const NARROWEST = 32;
const CLOSEST = 1 / 32;

function element(tag, className, parent) {
  const made = document.createElement(tag);
  made.className = className;
  parent.append(made);
  return made;
}

function rendererFor(canvas) {
  try {
    return new WebGLRenderer(canvas);
  } catch {
    return new CanvasRenderer(canvas);
  }
}

export class Viewport extends EventTarget {
  constructor(host, label) {
    super();
    this.host = host;
    this.label = label;
    this.canvas = element("canvas", "film", host);
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "radiograph viewer");
    this.canvas.viewport = this;
    this.notes = Object.fromEntries(["name", "values", "zoom", "busy", "trust"].map((n) => [n, element("p", `note ${n}`, host)]));
    this.buildColourBar();
    this.renderer = rendererFor(this.canvas);
    this.film = null;
    this.map = null;
    this.opacity = 0.5;
    this.isMapShown = false;
    this.isPanning = false;
    this.pointers = new Map();
    this.clearView();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(host);
  }

  buildColourBar() {
    this.bar = element("div", "colours", this.host);
    this.bar.hidden = true;
    this.bar.canvas = element("canvas", "", this.bar);
    this.bar.canvas.setAttribute("aria-hidden", "true");
    const ends = element("div", "ends", this.bar);
    this.bar.ends = [0, 1, 2].map(() => element("span", "", ends));
  }

  clearView() {
    this.window = { ...FULL };
    this.isInverted = false;
    this.perPixel = 1;
    this.left = 0;
    this.top = 0;
    this.isFitted = true;
  }

  // film: { name, width, height, bits, pixels }
  show(film) {
    this.film = film;
    this.presets = presetsOf(film);
    this.map = null;
    this.renderer.setFilm(film);
    this.renderer.setMap(null);
    this.clearView();
    const { low, high } = this.presets[0];
    this.window = { low, high };
    this.notes.busy.textContent = "";
    this.notes.name.textContent = film.name;
    this.canvas.setAttribute("aria-label", `${this.label}: ${film.name}. Arrow keys change the window, Shift and arrows pan.`);
    this.resize();
  }

  say(text) {
    this.notes.busy.textContent = text;
  }

  setMap(map) {
    this.map = map;
    this.renderer.setMap(map);
    this.draw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.host.clientWidth, this.host.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    if (this.isFitted) this.fit();
    else this.draw();
  }

  fit() {
    if (!this.film) return;
    this.isFitted = true;
    this.perPixel = Math.max(this.film.width / this.canvas.width, this.film.height / this.canvas.height);
    this.left = (this.film.width - this.canvas.width * this.perPixel) / 2;
    this.top = (this.film.height - this.canvas.height * this.perPixel) / 2;
    this.moved();
  }

  // Zoom so that the film pixel under (x, y), in screen pixels of the canvas, stays where it is.
  zoom(factor, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    if (!this.film) return;
    const furthest = 4 * Math.max(this.film.width / this.canvas.width, this.film.height / this.canvas.height, 1);
    const next = Math.min(furthest, Math.max(CLOSEST, this.perPixel / factor));
    this.left += x * (this.perPixel - next);
    this.top += y * (this.perPixel - next);
    this.perPixel = next;
    this.isFitted = false;
    this.moved();
  }

  actual() {
    this.zoom(this.perPixel);
    this.left = Math.round(this.left);
    this.top = Math.round(this.top);
    this.moved();
  }

  pan(x, y) {
    this.left -= x * this.perPixel;
    this.top -= y * this.perPixel;
    this.isFitted = false;
    this.moved();
  }

  moved() {
    this.draw();
    this.dispatchEvent(new Event("moved"));
  }

  // Take over another viewport's place and zoom, relative to the film's own size.
  follow(other) {
    if (!this.film || !other.film) return;
    const scale = this.film.width / other.film.width;
    const centre = [other.left + (other.canvas.width * other.perPixel) / 2, other.top + (other.canvas.height * other.perPixel) / 2];
    this.perPixel = other.perPixel * scale;
    this.left = centre[0] * scale - (this.canvas.width * this.perPixel) / 2;
    this.top = centre[1] * (this.film.height / other.film.height) - (this.canvas.height * this.perPixel) / 2;
    this.isFitted = other.isFitted;
    this.draw();
  }

  setWindow({ low, high }) {
    const width = Math.min(2 * 65535, Math.max(NARROWEST, high - low));
    const centre = Math.min(65535, Math.max(0, (low + high) / 2));
    this.window = { low: centre - width / 2, high: centre + width / 2 };
    this.draw();
    this.dispatchEvent(new Event("windowed"));
  }

  // dx widens, dy raises the level; a whole canvas is the whole range.
  dragWindow(dx, dy) {
    const { low, high } = this.window;
    const width = high - low + (dx / this.canvas.width) * 65535;
    const centre = (low + high) / 2 - (dy / this.canvas.height) * 65535;
    this.setWindow({ low: centre - Math.max(NARROWEST, width) / 2, high: centre + Math.max(NARROWEST, width) / 2 });
  }

  invert() {
    this.isInverted = !this.isInverted;
    this.draw();
  }

  reset() {
    this.clearView();
    this.setWindow(this.presets[0]);
    this.fit();
  }

  draw() {
    if (!this.film) return;
    const opacity = this.isMapShown && this.map ? this.opacity : 0;
    const { low, high } = this.window;
    this.renderer.draw({ left: this.left, top: this.top, perPixel: this.perPixel, low, high, isInverted: this.isInverted, opacity });
    this.canvas.dataset.drawn = String(Number(this.canvas.dataset.drawn || 0) + 1);
    this.describe(opacity);
  }

  // The film's own number for a value of the scale 0–65535.
  own(value) {
    return Math.round((value * (2 ** Math.min(16, this.film.bits) - 1)) / 65535);
  }

  describe(opacity) {
    const { low, high } = this.window;
    const window_ = `Width ${this.own(high - low)}  Level ${this.own((low + high) / 2)}${this.isInverted ? "  inverted" : ""}`;
    this.notes.values.textContent = this.pointed ? `${this.pointed}\n${window_}` : window_;
    this.notes.values.style.whiteSpace = "pre-line";
    this.notes.zoom.textContent = `${Math.round(100 / this.perPixel)} %`;
    this.bar.hidden = this.notes.trust.hidden = opacity === 0;
    if (opacity === 0) return;
    const reach = reachOf(this.map).toFixed(2);
    this.notes.trust.textContent = this.map.reason;
    drawColourBar(this.bar.canvas, opacity);
    [`for ${this.map.class_name} +${reach}`, this.map.is_flat ? "flat: nothing to see" : "0", `against −${reach}`].forEach((text, k) => (this.bar.ends[k].textContent = text));
  }

  point(x, y) {
    const column = Math.floor(this.left + x * this.perPixel);
    const row = Math.floor(this.top + y * this.perPixel);
    const isInside = column >= 0 && row >= 0 && column < this.film.width && row < this.film.height;
    const value = isInside ? this.own(this.film.pixels[row * this.film.width + column]) : 0;
    this.pointed = isInside ? `Column ${column}  Row ${row}  Value ${value} of ${this.own(65535)}` : "";
    this.describe(this.isMapShown && this.map ? this.opacity : 0);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * this.canvas.width) / box.width, ((event.clientY - box.top) * this.canvas.height) / box.height];
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("pointerleave", () => this.film && ((this.pointed = ""), this.draw()));
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("webglcontextrestored", () => this.rebuild());
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  }

  rebuild() {
    this.renderer = rendererFor(this.canvas);
    if (!this.film) return;
    this.renderer.setFilm(this.film);
    this.renderer.setMap(this.map);
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...this.place(event));
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
  }

  move(event) {
    if (!this.film) return;
    const here = this.place(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.point(...here);
      return;
    }
    const [dx, dy] = [here[0] - before[0], here[1] - before[1]];
    if (this.pointers.size === 2) this.pinch(event.pointerId, here);
    else if (this.isPanning || event.buttons & 6) this.pan(dx, dy);
    else this.dragWindow(dx, dy);
    this.pointers.set(event.pointerId, here);
    this.point(...here);
  }

  pinch(id, here) {
    const [, other] = [...this.pointers].find(([key]) => key !== id);
    const before = this.pointers.get(id);
    const distance = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
    this.zoom(distance(here) / Math.max(1, distance(before)), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
    this.pan((here[0] - before[0]) / 2, (here[1] - before[1]) / 2);
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!steps || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const step = Math.min(this.canvas.width, this.canvas.height) / 20;
    if (event.shiftKey) this.pan(-step * steps[0], -step * steps[1]);
    else this.dragWindow(step * steps[0], step * steps[1]);
  }
}
