// Words, numbers and small DOM of the panel's page code. The files of this folder are joined into one module, in the
// order words, columns, store, steps, keys, panel. Text from the user (keys, ids, errors, previews) reaches the page through
// textContent only: nothing here takes markup.

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function icon(path, className = "awn-icon") {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", className);
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.001) return "<1 ms";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1).replace(".0", "")} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.floor(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

function size(bytes) {
  if (bytes === null || bytes === undefined || bytes < 0) return "";
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (bytes < 1000) return `${unit === "B" || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
  return `${bytes.toFixed(1)} TB`;
}

function age(seconds) {
  if (seconds < 1) return "now";
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
}

// While it grows a duration keeps its digit: a row must not tremble.
const growing = (seconds) => (seconds >= 1 && seconds < 9.95 ? `${seconds.toFixed(1)} s` : duration(seconds));

const ago = (seconds) => (seconds < 1 ? "just now" : `${age(seconds)} ago`);

// What says how old something is, and goes on saying it as time goes by: a view's `tell` fills it in.
const agedNode = (kind, at, now) => el("span", { "data-age": kind, "data-at": at }, AGES[kind](now - at));
const AGES = { age, computed: (seconds) => `computed ${ago(seconds)}` };

function tellAges(node, now) {
  for (const old of node.querySelectorAll("[data-age]")) {
    const told = AGES[old.dataset.age](now - Number(old.dataset.at));
    if (old.textContent !== told) old.textContent = told;
  }
}

// A long key in two parts, of which the first shrinks: keys differ at their ends.
const TAIL = 12; // letters that always show
function keyNode(key) {
  const letters = [...key];
  const tail = letters.length > 2 * TAIL ? letters.splice(-TAIL).join("") : "";
  return el("span", { class: "awn-keyname" }, el("span", { class: "awn-keyhead" }, letters.join("")), tail ? el("span", { class: "awn-keytail" }, tail) : "");
}

// An automatic key ends in 32 hexadecimal digits, of which nobody reads more than some; the kernel cuts them so too.
const shortKey = (key) => key.replace(/:([0-9a-f]{10})[0-9a-f]{22}$/, ":$1…");

const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
