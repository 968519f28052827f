// Shows and hides what is already printed on the page; every number comes from the page itself. Works without this too.
"use strict";

// The whole page goes to paper, closed parts included.
const opened = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; opened.push(part); }
});
addEventListener("afterprint", () => { while (opened.length) opened.pop().open = false; });

// Newcomer or expert: one level at a time on screen, both on paper.
const levels = document.querySelector("[data-switch]");
function showLevel(level) {
  document.body.dataset.level = level;
  for (const input of levels.querySelectorAll("input")) input.checked = input.value === level;
}
if (levels) {
  levels.hidden = false;
  levels.addEventListener("change", (event) => showLevel(event.target.value));
  showLevel("newcomer");
}

// A link to something inside a closed part or the other level opens it.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (levels && target.closest("#expert")) showLevel("expert");
  if (levels && target.closest("#newcomer")) showLevel("newcomer");
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();

// Prevalence: one slider, one printed picture a step.
for (const box of document.querySelectorAll("[data-steps]")) {
  const control = box.querySelector(".control"), input = control.querySelector("input");
  const steps = [...box.querySelectorAll("[data-step]")], output = control.querySelector("output");
  const show = () => {
    steps.forEach((step, place) => { step.hidden = place !== Number(input.value); });
    output.textContent = input.ariaValueText = steps[input.value].dataset.step;
  };
  control.hidden = false;
  input.addEventListener("input", show);
  show();
}

// Threshold: the dashed line moves, and the counts are those of the judge's own table of thresholds.
for (const box of document.querySelectorAll("[data-thresholds]")) {
  const rows = JSON.parse(box.dataset.thresholds), start = Number(box.dataset.start);
  const ill = Number(box.dataset.ill), healthy = Number(box.dataset.healthy);
  const control = box.querySelector(".control"), input = control.querySelector("input");
  const lines = box.querySelectorAll('[data-part="threshold-line"]');
  const areas = [...box.querySelectorAll('[data-part="plot-area"]')];
  const output = control.querySelector("output"), line = box.querySelector(".explored");
  const show = () => {
    const [threshold, missed, alarms] = rows[input.value];
    const counts = { missed, alarms, found: ill - missed, cleared: healthy - alarms };
    output.textContent = input.ariaValueText = threshold.toPrecision(3);
    for (const [name, count] of Object.entries(counts)) {
      line.querySelector(`[data-count="${name}"]`).textContent = count.toLocaleString("en");
    }
    const shift = (Math.min(threshold, 1) - start) * areas[0].getBBox().width;
    for (const mark of lines) mark.setAttribute("transform", `translate(${shift} 0)`);
  };
  // The row whose threshold is nearest to a place on the picture; thresholds rise.
  const pick = (event) => {
    const frame = areas[0].getBoundingClientRect();
    const wanted = (event.clientX - frame.left) / frame.width;
    let low = 0, high = rows.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (rows[middle][0] < wanted) low = middle; else high = middle;
    }
    input.value = wanted - rows[low][0] < rows[high][0] - wanted ? low : high;
    show();
  };
  const drawing = areas[0] && areas[0].closest("svg");
  if (drawing) {
    drawing.classList.add("draggable");
    let isDragged = false;
    drawing.addEventListener("pointerdown", (event) => {
      isDragged = true;
      drawing.setPointerCapture(event.pointerId);
      pick(event);
    });
    drawing.addEventListener("pointermove", (event) => { if (isDragged) pick(event); });
    for (const name of ["pointerup", "pointercancel"]) drawing.addEventListener(name, () => { isDragged = false; });
  }
  control.hidden = line.hidden = false;
  input.addEventListener("input", show);
  show();
}
