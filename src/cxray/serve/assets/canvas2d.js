// Draws a film where WebGL2 is missing: the window through a table, the browser's own scaling, the same heat map.

import { colourTable, reachOf, STEPS } from "./colours.js";

export class CanvasRenderer {
  name = "canvas2d";

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.film = null;
    this.map = null;
    this.windowed = "";
  }

  setFilm(film) {
    this.film = film;
    this.sheet = Object.assign(document.createElement("canvas"), { width: film.width, height: film.height });
    this.windowed = "";
  }

  setMap(map) {
    this.map = map ? { place: map.film, sheet: paintMap(map) } : null;
  }

  window(view) {
    const key = `${view.low} ${view.high} ${view.isInverted}`;
    if (key === this.windowed) return;
    this.windowed = key;
    const image = new ImageData(this.film.width, this.film.height);
    const words = new Uint32Array(image.data.buffer);
    const table = new Uint32Array(65536);
    for (let value = 0; value < 65536; value += 1) {
      const share = Math.min(1, Math.max(0, (value - view.low) / (view.high - view.low)));
      const grey = Math.round(255 * (view.isInverted ? 1 - share : share));
      table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    for (let k = 0; k < words.length; k += 1) words[k] = table[this.film.pixels[k]];
    this.sheet.getContext("2d").putImageData(image, 0, 0);
  }

  draw(view) {
    const { context, canvas, film } = this;
    if (!film) return;
    this.window(view);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = view.perPixel !== 1;
    const scale = 1 / view.perPixel;
    const [x, y, width, height] = [-view.left * scale, -view.top * scale, film.width * scale, film.height * scale];
    context.drawImage(this.sheet, x, y, width, height);
    if (!this.map || view.opacity <= 0) return;
    const { place, sheet } = this.map;
    context.globalAlpha = view.opacity;
    context.imageSmoothingEnabled = true;
    const from = [place.left * sheet.width, place.top * sheet.height, place.width * sheet.width, place.height * sheet.height];
    context.drawImage(sheet, ...from, x, y, width, height);
    context.globalAlpha = 1;
  }
}

// The map in colour, enlarged by hand so that the place of the film inside it can be cut out finely.
function paintMap(map) {
  const side = 224;
  const rows = map.values.length;
  const columns = map.values[0].length;
  const cell = (row, column) =>
    map.values[Math.min(rows - 1, Math.max(0, row))][Math.min(columns - 1, Math.max(0, column))];
  const image = new ImageData(side, side);
  const table = colourTable();
  const reach = reachOf(map);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const down = ((y + 0.5) / side) * rows - 0.5;
      const across = ((x + 0.5) / side) * columns - 0.5;
      const [top, left] = [Math.floor(down), Math.floor(across)];
      const [v, u] = [down - top, across - left];
      const value =
        (cell(top, left) * (1 - u) + cell(top, left + 1) * u) * (1 - v) +
        (cell(top + 1, left) * (1 - u) + cell(top + 1, left + 1) * u) * v;
      const step = Math.round((Math.min(1, Math.max(-1, value / reach)) * 0.5 + 0.5) * (STEPS - 1));
      image.data.set(table.subarray(4 * step, 4 * step + 4), 4 * (y * side + x));
    }
  }
  const sheet = Object.assign(document.createElement("canvas"), { width: side, height: side });
  sheet.getContext("2d").putImageData(image, 0, 0);
  return sheet;
}
