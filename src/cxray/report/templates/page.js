// Shows and hides what is already printed on the page; every number comes from the page itself. Works without this too.
"use strict";

// The whole page goes to paper, closed parts included.
const opened = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; opened.push(part); }
});
addEventListener("afterprint", () => { while (opened.length) opened.pop().open = false; });

// A link to something inside a closed part opens it.
function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (target) target.scrollIntoView();
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
  const control = box.querySelector(".control"), input = control.querySelector("input");
  const lines = box.querySelectorAll('[data-part="threshold-line"]');
  const area = box.querySelector('[data-part="plot-area"]');
  const output = control.querySelector("output"), line = box.querySelector(".explored");
  const show = () => {
    const [threshold, missed, alarms] = rows[input.value];
    output.textContent = input.ariaValueText = threshold.toPrecision(3);
    line.hidden = false;
    line.querySelector('[data-count="missed"]').textContent = missed.toLocaleString("en");
    line.querySelector('[data-count="alarms"]').textContent = alarms.toLocaleString("en");
    const shift = (Math.min(threshold, 1) - start) * area.getBBox().width;
    for (const mark of lines) mark.setAttribute("transform", `translate(${shift} 0)`);
  };
  control.hidden = false;
  input.addEventListener("input", show);
}
