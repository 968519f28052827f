// Wiring: films in, answers into the worklist, a film into the viewer, and every button and key to what it does.

import * as api from "./api.js";
import { setUpHelp, setUpKeys, setUpTheme, setUpToken } from "./comfort.js";
import { byId, facts, make } from "./dom.js";
import { Reading } from "./reading.js";
import { asTable, save } from "./table.js";
import { Viewport } from "./viewport.js";
import { Worklist } from "./worklist.js";

const AT_ONCE = 4;
const ENOUGH = 12;
const worklist = new Worklist();
const reading = new Reading();
const views = { A: null, B: null };
let models = [];
let model = null;
let underWay = 0;
let session = 0;

// --- films in -------------------------------------------------------------------------------------------------

function take(files) {
  const films = worklist.add([...files].filter((file) => file.size > 0 || file.name));
  for (const film of films) film.session = session;
  pump();
}

function pump() {
  while (model && underWay < AT_ONCE) {
    const film = worklist.films.find((one) => one.state === "waiting");
    if (!film) return;
    underWay += 1;
    worklist.update(film, { state: "scoring" });
    scoreOne(film).finally(() => {
      underWay -= 1;
      pump();
    });
  }
}

async function scoreOne(film) {
  try {
    const answer = await api.predict(film.file, model.name);
    if (film.session !== session) return;
    worklist.update(film, { answer, state: "done" });
    openTheFirst();
  } catch (error) {
    if (film.session !== session) return;
    worklist.update(film, { refusal: asRefusal(error), state: "refused" });
    openTheFirst();
  }
}

// Reading starts at the top: with the highest score, once all are in or enough to begin with.
function openTheFirst() {
  const scored = worklist.films.filter((film) => film.answer).length;
  const isOpen = worklist.films.some((film) => film.state === "waiting" || film.state === "scoring");
  if (!worklist.seats.A && scored && (!isOpen || scored >= ENOUGH)) open(worklist.sorted()[0]);
}

const asRefusal = (error) => (error instanceof api.Refusal ? error : new api.Refusal({ title: error.message }));

// --- the viewer -----------------------------------------------------------------------------------------------

function view(letter) {
  views[letter] ??= makeView(letter);
  return views[letter];
}

function makeView(letter) {
  const made = new Viewport(byId(letter === "A" ? "first" : "second"), letter === "A" ? "Film" : "Film to compare");
  made.addEventListener("moved", () => {
    const other = views[letter === "A" ? "B" : "A"];
    if (worklist.seats.B && byId("linked").checked && other) other.follow(made);
  });
  made.addEventListener("windowed", () => letter === "A" && showPreset());
  return made;
}

async function open(film, letter = "A") {
  if (letter === "A" && worklist.seats.A && worklist.seats.A !== film) worklist.before = worklist.seats.A;
  worklist.seat(letter, film);
  byId("welcome").hidden = true;
  byId(letter === "A" ? "first" : "second").hidden = false;
  byId("tools").hidden = false;
  if (letter === "A") reading.show(film);
  const target = view(letter);
  target.say("Loading the film…");
  try {
    film.pixels ??= await api.pixels(film.file);
    if (worklist.seats[letter] !== film) return;
    target.show({ ...film.pixels, name: film.name });
    target.isMapShown = isPressed("heat");
    if (letter === "A") setUpFilm(target);
    await showMap(film, target, letter);
  } catch (error) {
    target.say(`${asRefusal(error).title} ${asRefusal(error).nextStep}`);
  }
}

function setUpFilm(target) {
  byId("preset").replaceChildren(
    ...target.presets.map((preset, k) => make("option", { value: String(k) }, preset.name)),
    make("option", { value: "own", disabled: true, hidden: true }, "Own window"),
  );
  press("invert", false);
  showPreset();
}

async function showMap(film, target, letter) {
  if (!isPressed("heat")) return;
  try {
    film.map ??= await api.heatMap(film.file, model.name);
    if (worklist.seats[letter] === film) target.setMap(film.map);
  } catch (error) {
    const { title, detail } = asRefusal(error);
    target.say(`${title}${detail && detail !== title ? ` ${detail}` : ""}`);
    setTimeout(() => target.say(""), 6000);
  }
}

function showPreset() {
  const { low, high } = views.A.window;
  const k = views.A.presets?.findIndex((preset) => Math.abs(preset.low - low) < 1 && Math.abs(preset.high - high) < 1) ?? -1;
  byId("preset").value = k < 0 ? "own" : String(k);
}

const shown = () => ["A", "B"].map((letter) => worklist.seats[letter] && views[letter]).filter((one) => one?.film);
const isPressed = (id) => byId(id).getAttribute("aria-pressed") === "true";
const press = (id, is) => byId(id).setAttribute("aria-pressed", String(is));

// --- what buttons and keys do ---------------------------------------------------------------------------------

function invert() {
  press("invert", !isPressed("invert"));
  for (const one of shown()) if (one.isInverted !== isPressed("invert")) one.invert();
}

function togglePan() {
  press("pan", !isPressed("pan"));
  for (const one of Object.values(views).filter(Boolean)) {
    one.isPanning = isPressed("pan");
    one.canvas.classList.toggle("panning", one.isPanning);
  }
}

function toggleHeat() {
  press("heat", !isPressed("heat"));
  for (const letter of ["A", "B"]) {
    const film = worklist.seats[letter];
    if (!film || !views[letter]) continue;
    views[letter].isMapShown = isPressed("heat");
    views[letter].draw();
    showMap(film, views[letter], letter);
  }
}

function setOpacity(percent) {
  byId("opacity").value = String(Math.min(100, Math.max(0, percent)));
  for (const one of Object.values(views).filter(Boolean)) {
    one.opacity = Number(byId("opacity").value) / 100;
    one.draw();
  }
}

function toggleCompare() {
  const isOn = !isPressed("compare");
  const other = worklist.before ?? worklist.neighbour(worklist.seats.A, 1);
  if (isOn && (!other || other === worklist.seats.A)) {
    views.A?.say("Open a second film to compare with.");
    setTimeout(() => views.A?.say(""), 3000);
    return;
  }
  press("compare", isOn);
  byId("stage").classList.toggle("pair", isOn);
  byId("linked-label").hidden = !isOn;
  byId("second").hidden = !isOn;
  if (isOn) open(other, "B");
  else worklist.seat("B", null);
}

function reset() {
  for (const one of shown()) one.reset();
  press("invert", false);
  if (views.A?.film) showPreset();
}

function nextPreset() {
  if (!views.A?.film) return;
  const current = Number(byId("preset").value);
  choosePreset(Number.isNaN(current) ? 0 : (current + 1) % views.A.presets.length);
}

function choosePreset(k) {
  for (const one of shown()) one.setWindow(one.presets[k]);
}

function step(by) {
  const next = worklist.seats.A && worklist.neighbour(worklist.seats.A, by);
  if (next && next !== worklist.seats.A) open(next);
}

const each = (action) => () => views.A?.film && action(views.A);
const opacityBy = (change) => () => setOpacity(Number(byId("opacity").value) + change);

function setUpButtons() {
  const clicks = {
    invert, pan: togglePan, heat: toggleHeat, compare: toggleCompare, reset,
    clear: () => (clear(), byId("choose").focus()),
    "zoom-in": each((one) => one.zoom(1.25)), "zoom-out": each((one) => one.zoom(0.8)),
    fit: each((one) => one.fit()), actual: each((one) => one.actual()),
    export: () => save(asTable(worklist.sorted(), model), "worklist.csv"),
    choose: () => byId("files").click(), samples: takeSamples,
  };
  for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", () => action());
  byId("preset").addEventListener("change", () => choosePreset(Number(byId("preset").value)));
  byId("opacity").addEventListener("input", () => setOpacity(Number(byId("opacity").value)));
  byId("linked").addEventListener("change", () => byId("linked").checked && views.B?.follow(views.A));
  setUpKeys({
    i: invert, p: togglePan, h: toggleHeat, c: toggleCompare, r: reset, w: nextPreset,
    f: clicks.fit, 1: clicks.actual, "+": clicks["zoom-in"], "=": clicks["zoom-in"], "-": clicks["zoom-out"],
    "[": opacityBy(-10), "]": opacityBy(10), j: () => step(1), k: () => step(-1), "?": () => byId("help-dialog").showModal(),
  });
}

function clear() {
  session += 1;
  worklist.clear();
  worklist.before = null;
  reading.show(null);
  if (isPressed("compare")) toggleCompare();
  for (const id of ["first", "second", "tools"]) byId(id).hidden = true;
  byId("welcome").hidden = false;
}

function setUpFiles() {
  byId("files").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = "";
  });
  let depth = 0;
  const carriesFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const veil = (change) => (byId("veil").hidden = (depth = Math.max(0, depth + change)) === 0);
  addEventListener("dragenter", (event) => carriesFiles(event) && veil(1));
  addEventListener("dragleave", (event) => carriesFiles(event) && veil(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    veil(-depth);
    take(await droppedFiles(event.dataTransfer));
  });
}

// Files of a drop, folders searched through.
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return;
    for (const one of batch) await walk(one, found);
  }
}

// --- models and samples ---------------------------------------------------------------------------------------

async function takeSamples() {
  const names = await api.callJson("/api/samples");
  const files = names.map(async (name) => {
    const response = await api.call(`/api/samples/${encodeURIComponent(name)}`);
    return new File([await response.blob()], name);
  });
  take(await Promise.all(files));
}

async function chooseModel(name) {
  clear();
  model = models.find((one) => one.name === name);
  const evidence = await api.callJson(model.links.evidence);
  reading.setModel(model, evidence);
  worklist.setLine(reading.line);
  byId("model-name").textContent = models.length > 1 ? "" : `Model ${model.name}, finds ${model.positive || model.classes.join(", ")}`;
  for (const page of ["report", "card"]) {
    byId(`${page}-link`).hidden = !model.links[page];
    if (model.links[page]) byId(`${page}-link`).href = model.links[page];
  }
  byId("intended").textContent = model.intended_use;
  facts(byId("model-facts"), modelFacts());
  pump();
}

function modelFacts() {
  const line = model.thresholds[model.positive];
  const { films = {}, patients = {} } = model.data;
  return [
    ["Name", model.name], ["Identifier", model.identifier], ["Made", model.made], ["Classes", model.classes.join(", ")],
    ["Line", line ? `${line.value.toFixed(3)} for ${model.positive} (${line.policy})` : "none stored"],
    ["Calibration", model.calibration.method || "none"],
    ["Trained on", films.train ? `${films.train} films of ${patients.train} patients` : "not recorded"],
    ["Validated on", films.validation ? `${films.validation} films of ${patients.validation} patients` : "not recorded"],
    ["Input gate", model.has_gate ? "yes" : "none"], ["Engine", model.engine],
  ];
}

async function loadModels() {
  for (;;) {
    models = await api.callJson("/api/models");
    if (models.every((one) => one.state !== "loading")) break;
    byId("summary").textContent = "The model is being loaded and checked…";
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  models = models.filter((one) => one.state === "ready");
  if (!models.length) throw new api.Refusal({ title: "No model passed its check.", next_step: "See the log of the service." });
  byId("model").replaceChildren(...models.map((one) => make("option", { value: one.name }, one.name)));
  byId("model-choice").hidden = models.length < 2;
  byId("model").addEventListener("change", () => chooseModel(byId("model").value));
  byId("samples").hidden = (await api.callJson("/api/samples")).length === 0;
  await chooseModel(models[0].name);
}

setUpTheme();
setUpHelp();
setUpToken();
setUpButtons();
setUpFiles();
worklist.addEventListener("open", (event) => open(event.detail));
reading.addEventListener("line", (event) => worklist.setLine(event.detail));
loadModels()
  .then(() => (document.body.dataset.ready = "true"))
  .catch((error) => (byId("summary").textContent = `${asRefusal(error).title} ${asRefusal(error).nextStep}`));
