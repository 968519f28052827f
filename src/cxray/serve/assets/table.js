// The worklist as a predictions table (CSV), in the columns that `cxray evaluate` reads.

function cell(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (/^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text))) text = `'${text}`; // no spreadsheet may run a file's name
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function asTable(films, model) {
  const scores = model.classes.map((name) => `score_${name}`);
  const threshold = model.thresholds[model.positive]?.value ?? "";
  const header = ["path", ...scores, "predicted", "decision", "gate", "error", "model", "threshold"];
  const rows = films
    .filter((film) => film.answer || film.refusal)
    .map((film) => {
      const answer = film.answer;
      if (!answer) return [film.name, ...scores.map(() => ""), "", "", "", film.refusal.title, model.identifier, threshold];
      const values = model.classes.map((name) => answer.scores[name]);
      return [film.name, ...values, answer.predicted, answer.decision, answer.gate.verdict, "", answer.model.identifier, threshold];
    });
  return [header, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function save(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = Object.assign(document.createElement("a"), { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
