// The colours of heat maps: cold speaks against, warm for, nothing where there is no evidence either way.

const STOPS = [
  [-1, 190, 228, 255], [-0.6, 92, 168, 232], [-0.25, 45, 110, 190], [0, 60, 60, 70],
  [0.25, 190, 80, 35], [0.6, 240, 140, 50], [1, 255, 224, 130],
];
export const STEPS = 256;

function colourAt(value) {
  const next = STOPS.findIndex(([at]) => at >= value);
  if (next <= 0) return STOPS[0].slice(1);
  const [low, ...from] = STOPS[next - 1];
  const [high, ...to] = STOPS[next];
  const share = (value - low) / (high - low);
  return from.map((channel, k) => Math.round(channel + share * (to[k] - channel)));
}

// STEPS colours from −1 to 1 as RGBA bytes; alpha grows with the distance from 0.
export function colourTable() {
  const table = new Uint8Array(4 * STEPS);
  for (let k = 0; k < STEPS; k += 1) {
    const value = (2 * k) / (STEPS - 1) - 1;
    table.set([...colourAt(value), Math.round(255 * Math.min(1, 1.15 * Math.abs(value)))], 4 * k);
  }
  return table;
}

// The value at which the colours end: the model's own scale where it was measured, else the map's largest, but never so
// small that noise looks like evidence.
export function reachOf(map) {
  return map.scale ?? Math.max(0.1, ...map.values.flat().map(Math.abs));
}

// A colour bar with the numbers of its ends; warm is up.
export function drawColourBar(canvas, opacity) {
  canvas.width = 1;
  canvas.height = STEPS;
  const image = new ImageData(1, STEPS);
  const table = colourTable();
  for (let row = 0; row < STEPS; row += 1) {
    const from = 4 * (STEPS - 1 - row);
    image.data.set([table[from], table[from + 1], table[from + 2], table[from + 3] * opacity], 4 * row);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
