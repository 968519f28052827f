// What a person sets up for themselves: theme, single-letter keys, help, and the token when one is asked for.

import { onTokenNeeded } from "./api.js";
import { byId } from "./dom.js";

const THEMES = ["auto", "light", "dark"];
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function kept(name, fallback) {
  try {
    return localStorage.getItem(`cxray-${name}`) ?? fallback;
  } catch {
    return fallback;
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(`cxray-${name}`, value);
  } catch {
    // a browser that keeps nothing still shows the page
  }
}

function applyTheme(theme) {
  document.documentElement.dataset.theme = theme === "auto" ? (prefersDark.matches ? "dark" : "light") : theme;
  byId("theme").textContent = `Theme: ${theme}`;
}

export function setUpTheme() {
  let theme = THEMES.includes(kept("theme")) ? kept("theme") : "auto";
  applyTheme(theme);
  prefersDark.addEventListener("change", () => applyTheme(theme));
  byId("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    keep("theme", theme);
    applyTheme(theme);
  });
}

export function setUpHelp() {
  byId("help").addEventListener("click", () => byId("help-dialog").showModal());
  byId("about-model").addEventListener("click", () => byId("model-dialog").showModal());
  byId("shortcuts").checked = kept("shortcuts", "on") === "on";
  byId("shortcuts").addEventListener("change", () => keep("shortcuts", byId("shortcuts").checked ? "on" : "off"));
}

// Keys of one letter, unless switched off, typed into a field, or held with a modifier.
export function setUpKeys(actions) {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input:not([type=range], [type=checkbox]), select, textarea, dialog");
    if (!byId("shortcuts").checked || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

export function setUpToken() {
  let pending = null;
  onTokenNeeded((wasAsked) => {
    pending ??= new Promise((resolve) => {
      byId("token-wrong").hidden = !wasAsked;
      byId("token").value = "";
      byId("token-dialog").showModal();
      byId("token-form").addEventListener(
        "submit",
        () => {
          pending = null;
          resolve(byId("token").value.trim());
        },
        { once: true },
      );
    });
    return pending;
  });
  byId("token-dialog").addEventListener("cancel", (event) => event.preventDefault());
}
