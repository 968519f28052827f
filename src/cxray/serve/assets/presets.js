// Window presets, from the film's own grey values. A window is { low, high } on the scale 0–65535.

export const FULL = { low: 0, high: 65535 };

// Values below which the given shares of the film's pixels lie; padding and pure white edges are left out.
function percentiles(pixels, shares) {
  const counts = new Uint32Array(4096);
  const stride = Math.max(1, Math.floor(pixels.length / 500000));
  let total = 0;
  for (let k = 0; k < pixels.length; k += stride) {
    if (pixels[k] === 0 || pixels[k] === 65535) continue;
    counts[pixels[k] >> 4] += 1;
    total += 1;
  }
  return shares.map((share) => {
    let seen = 0;
    for (let bin = 0; bin < counts.length; bin += 1) {
      seen += counts[bin];
      if (seen >= share * total) return bin * 16 + 8;
    }
    return 65535;
  });
}

export function presetsOf(film) {
  const [p1, p2, p35, p65, p98, p99] = percentiles(film.pixels, [0.01, 0.02, 0.35, 0.65, 0.98, 0.99]);
  const made = [
    ["Full range", FULL],
    ["This film, 1–99 %", { low: p1, high: p99 }],
    ["Darker parts: lungs", { low: p2, high: p65 }],
    ["Brighter parts: bone, mediastinum", { low: p35, high: p98 }],
  ];
  const [low, high] = film.window ?? [0, 65535];
  if (low !== 0 || high !== 65535) made.unshift(["As the file asks", { low, high }]);
  return made.map(([name, { low, high }]) => ({ name, low, high: Math.max(high, low + 32) }));
}
