// The upper half of the panel: totals, and of each run its steps with a timeline. Only rows that changed are drawn again.

const STATES = {
  pending: { label: "pending", icon: "M8 4.5v3.7l2.3 1.4" },
  waiting: { label: "waiting", icon: "M8 4.5v3.7l2.3 1.4" },
  running: { label: "running", icon: "" },
  hit: { label: "from cache", icon: "M5 8.3l2.1 2.1L11.2 6" },
  computed: { label: "computed", icon: "M9 3.8L5.2 8.9h2.7l-.9 3.6 3.9-5.2H8.1z" },
  failed: { label: "failed", icon: "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8" },
  replayed: { label: "failed, from cache", icon: "M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8" },
  interrupted: { label: "interrupted", icon: "M5.6 5.6h4.8v4.8H5.6z" },
  invalidated: { label: "invalidated", icon: "M4.6 5.2h6.8M6.6 5V3.9h2.8V5M5.4 5.2l.4 6.9h4.4l.4-6.9" },
  skipped: { label: "skipped", icon: "M5 8h6" },
  ended: { label: "interrupted", icon: "M5.6 5.6h4.8v4.8H5.6z" }, // it ran when the kernel went
};

const FEW = 3; // of one step id that are shown one by one; more are one line that opens

// A line that stands for several steps is in the state that a person most wants to know of.
const LOUDEST = ["running", "waiting", "failed", "replayed", "interrupted", "invalidated", "computed", "pending", "hit", "skipped"];

// What the head counts, in this order.
const COUNTED = [
  ["hit", "from cache"], ["computed", "computed"], ["running", "running", "waiting"], ["failed", "failed", "replayed"],
  ["interrupted", "interrupted", "ended"], ["invalidated", "invalidated"], ["pending", "pending"],
];

const isLive = (step) => step.state === "running" || step.state === "waiting";

class Steps {
  constructor(store, focus) {
    this.store = store;
    this.focus = focus; // asks the view what has the focus, and gives it
    this.open = new Set(); // groups and steps that were opened
    this.sections = new Map(); // what is drawn of each section
    this.head = el("header", { class: "awn-head" });
    this.node = el("div", { class: "awn-steps" });
  }

  draw() {
    this.drawHead();
    this.drawSteps();
  }

  drawHead() {
    const steps = this.store.sections.flatMap((section) => section.steps);
    const counts = new Map();
    for (const step of steps) counts.set(this.state(step), (counts.get(this.state(step)) || 0) + 1);
    const of = (...states) => states.reduce((sum, state) => sum + (counts.get(state) || 0), 0);
    const saved = steps.reduce((sum, step) => sum + (step.saved || 0), 0);
    const facts = COUNTED.map(([kind, label, ...others]) => [of(kind, ...others), label, kind]).filter(([n]) => n)
      .map(([n, label, kind]) => el("span", { class: `awn-fact awn-${kind}` }, el("b", {}, n.toLocaleString("en")), ` ${label}`));
    const ended = (status) => this.store.sections.some((section) => section.status === status);
    const status = this.store.gone ? "gone" : of("running", "waiting") ? "running"
      : ended("failed") ? "failed" : ended("cancelled") ? "cancelled" : "idle";
    this.head.replaceChildren(
      el("span", { class: `awn-logo awn-logo-${status}`, "aria-hidden": "true" }),
      el("div", { class: "awn-name", role: "heading", "aria-level": "2" }, "awaitly"),
      el("div", { class: "awn-facts" }, ...facts),
      saved >= 0.05 ? el("div", { class: "awn-saved", title: "Time that steps from the cache took when they were computed" },
        el("b", {}, duration(saved)), " saved") : "");
  }

  // The state that is shown: what ran when the kernel went will not end.
  state(step) {
    return this.store.gone && isLive(step) ? "ended" : step.state;
  }

  drawSteps() {
    const wanted = [];
    if (!this.store.sections.length) {
      this.sections.clear();
      this.node.replaceChildren(el("p", { class: "awn-empty" }, this.store.unheard() ? "" : "No step has run yet in this kernel."));
      return;
    }
    for (const section of this.store.sections) wanted.push(this.section(section));
    const current = [...this.node.children];
    if (current.length !== wanted.length || current.some((node, i) => node !== wanted[i])) this.node.replaceChildren(...wanted);
    for (const id of [...this.sections.keys()]) if (!this.store.sections.some((section) => section.id === id)) this.sections.delete(id);
  }

  section(section) {
    let drawn = this.sections.get(section.id);
    if (!drawn) {
      const table = el("table", { class: "awn-table" },
        el("caption", { class: "awn-sr" }, `Steps of ${section.title}`),
        el("thead", {}, el("tr", {}, ...["State", "Step", "Timeline", "Took", "Size", "Saved", ""].map((title, i) =>
          el("th", { scope: "col", class: i > 2 ? "awn-num" : null }, title || el("span", { class: "awn-sr" }, "Invalidate"))))),
        el("tbody"));
      drawn = { head: el("div", { class: "awn-runhead" }), table, rows: [], node: null };
      drawn.node = el("section", { class: "awn-run", "aria-label": section.title }, drawn.head, table);
      this.sections.set(section.id, drawn);
    }
    const status = this.store.gone && section.status === "running" ? "interrupted" : section.status;
    drawn.head.replaceChildren(
      el("div", { class: "awn-title", role: "heading", "aria-level": "3" }, section.title),
      el("span", { class: `awn-status awn-status-${status}` }, status),
      el("span", { class: "awn-elapsed", "data-since": section.status === "running" ? section.started : null },
        duration(section.took)),
      section.error ? el("span", { class: `awn-error awn-error-${section.status}`, title: section.error }, section.error) : "");
    const span = this.span(section);
    const body = drawn.table.tBodies[0];
    drawn.lines = this.lines(section);
    while (drawn.rows.length > drawn.lines.length) drawn.rows.pop().node.remove();
    drawn.lines.forEach((line, index) => {
      const text = JSON.stringify([line, this.store.gone, this.store.asked.has(line.keyid)]);
      const old = drawn.rows[index];
      if (!old || old.text !== text) {
        const node = line.of ? this.whyRow(line) : this.stepRow(line);
        const focus = this.focus.get();
        const focused = old?.node.contains(focus) ? focus.className : null; // null: not in this row
        if (old) old.node.replaceWith(node);
        else body.append(node);
        if (focused !== null) this.refocus(node, focused);
        drawn.rows[index] = { text, node };
      }
      this.place(drawn.rows[index].node, line, span);
    });
    return drawn.node;
  }

  // The focus stays on a row that is drawn again: on what had it, or where that is no more, on what the row has left.
  refocus(row, className) {
    const stops = [...row.querySelectorAll(":is(button, [tabindex]):not(:disabled)")];
    this.focus.set(stops.find((stop) => stop.className === className) || stops[0] || row);
  }

  // What is shown of a section: a step a line, but many of one id (a loop) as one line that opens.
  lines(section) {
    const same = new Map();
    for (const step of section.steps) same.set(step.step, [...(same.get(step.step) || []), step]);
    const lines = [];
    for (const [id, parts] of same) {
      if (parts.length <= FEW) {
        const twin = parts.length > 1; // only their keys tell them apart
        lines.push(...parts.flatMap((step) => this.stepLines(section, twin ? { ...step, twin } : step)));
        continue;
      }
      const name = `${section.id} ${id}`;
      const open = this.open.has(name);
      lines.push({ ...this.summary(parts), step: id, group: name, opened: open });
      if (open) lines.push(...parts.flatMap((step) => this.stepLines(section, step, true)));
    }
    return lines;
  }

  // A step, and beneath it, where it was opened, why it was computed.
  stepLines(section, step, child = false) {
    if (!step.key && !step.why) return [{ ...step, parts: [step], child }];
    const row = JSON.stringify([section.id, step.step, step.key, step.since]);
    const opened = this.open.has(row);
    const line = { ...step, parts: [step], child, row, opened };
    return opened ? [line, { of: line, changes: this.store.whys.get(row), parts: [] }] : [line];
  }

  summary(parts) {
    const sum = (field, of = parts) => of.reduce((total, step) => total + (step[field] || 0), 0);
    const current = parts.filter((step) => typeof step.start === "number"); // of the run that is on the time axis
    const live = parts.find(isLive);
    const counts = LOUDEST.map((state) => [parts.filter((step) => step.state === state).length, STATES[state].label]);
    return {
      parts, state: LOUDEST.find((state) => parts.some((step) => step.state === state)), took: sum("took", current.length ? current : parts), since: live?.since,
      size: sum("size") || null, saved: sum("saved"), why: counts.filter(([n]) => n).map(([n, label]) => `${n} ${label}`).join(" · "),
    };
  }

  span(section) {
    const ends = section.steps.filter((step) => typeof step.start === "number").map((step) => step.start + (step.took ?? 0));
    const live = section.status === "running" ? this.store.now() - section.started : 0;
    return Math.max(section.took || 0, live, ...ends, 0.001);
  }

  stepRow(step) {
    const live = isLive(step);
    const state = this.state(step);
    const shown = STATES[state] || STATES.pending;
    const key = step.group ? `${step.parts.length} steps` : step.key ? `key ${step.key}` : "no key: not cached";
    const computed = step.state === "hit" && step.at ? `computed ${new Date(step.at * 1000).toLocaleString()}` : null;
    const title = [computed, step.why, key].filter(Boolean).join("\n");
    const known = step.keyid !== undefined && step.keyid !== null;
    const opens = step.row || step.group;
    return el("tr", {
      class: `awn-step awn-${state}${step.child ? " awn-child" : ""}${opens ? " awn-opens" : ""}`, tabindex: "-1",
      "data-step": step.child ? null : step.step, "data-part": step.child ? step.key : null, "data-state": state,
      onclick: (event) => {
        // The row is a larger target for what its own button does. Text that was selected is not a click.
        if (opens && !event.target.closest("button") && !String(document.getSelection())) this.toggle(step);
      },
    },
    el("td", { class: "awn-state" }, this.pill(step,
      live && !this.store.gone ? el("span", { class: "awn-spin", "aria-hidden": "true" }) : icon(shown.icon), el("span", { class: "awn-label" }, shown.label))),
    el("th", { scope: "row", class: "awn-stepname", title }, this.name(step), this.subtitle(step)),
    el("td", { class: "awn-timeline" }, el("span", { class: "awn-track" },
      ...step.parts.map((part) => el("span", { class: `awn-span awn-is-${part.state}` })))),
    el("td", { class: "awn-num awn-time", "data-at": live && !step.group ? step.since : null }, live && !step.group ? "" : duration(step.took)),
    el("td", { class: "awn-num" }, size(step.size)),
    el("td", { class: "awn-num awn-gain" }, step.saved >= 0.001 && state !== "invalidated" ? duration(step.saved) : ""),
    el("td", { class: "awn-num" }, known ? invalidateButton(this.store, step.keyid, step.key) : ""));
  }

  // Beneath the name: why, or how old; first of all the key, where several rows have one name.
  subtitle(step) {
    const told = step.state === "hit" && step.at ? agedNode("computed", step.at, this.store.now())
      : step.twin && step.why === "first run" ? null : step.why?.replaceAll("->", "-\u2060>"); // no line ends in an arrow
    const key = step.twin && step.key ? keyNode(step.call || shortKey(step.key)) : null;
    if (!told && !key) return "";
    return el("span", { class: `awn-why${key ? " awn-keyed" : ""}` }, ...(key ? [key, told ? el("span", { class: "awn-rest" }, told) : ""] : [told]));
  }

  toggle(step) {
    const name = step.row || step.group;
    if (!this.open.delete(name)) {
      this.open.add(name);
      if (step.row) this.store.asksWhy(step);
    }
    this.drawSteps();
  }

  // The state; of a step that there is more to tell of, as a button that opens it.
  pill(step, ...content) {
    const { label } = STATES[this.state(step)] || STATES.pending; // a narrow panel shows the icon only
    if (!step.row) return el("span", { class: "awn-pill", title: label }, ...content);
    return el("button", {
      class: "awn-pill awn-tell", type: "button", "aria-expanded": String(step.opened), title: `${label}: ${step.opened ? "close" : "why?"}`,
      onclick: () => this.toggle(step),
    }, ...content);
  }

  // Beneath a step: why it was computed, part by part, with the difference of the source where code changed.
  whyRow({ of: step, changes }) {
    const { reason, error } = whyOf(step);
    const told = changes?.length ? changes : [{ line: reason }];
    const waits = changes === null && !this.store.gone;
    return el("tr", { class: "awn-because" }, el("td", { colspan: "7" },
      error ? el("pre", { class: "awn-text awn-failure" }, error) : "",
      ...told.flatMap(({ line, diff }) => [line ? el("p", { class: "awn-change" }, line) : "", diff ? sourceDiff(diff) : ""]),
      waits ? el("p", { class: "awn-keyline" }, this.store.busy ? "Waiting for the kernel…" : "Loading…") : "",
      step.key ? el("p", { class: "awn-keyline" }, "key ", el("code", {}, step.key)) : ""));
  }

  name(step) {
    const chevron = step.row || step.group ? icon(step.opened ? "M5 6.5l3 3 3-3" : "M6.5 5l3 3-3 3", "awn-icon awn-chevron") : "";
    if (step.child) return el("span", { class: "awn-nameline" }, el("code", { class: "awn-id" }, keyNode(step.call || shortKey(step.key || step.step))), chevron);
    if (!step.group) return el("span", { class: "awn-nameline" }, el("span", { class: "awn-id" }, step.step), chevron);
    return el("button", {
      class: "awn-opener awn-nameline", type: "button", "aria-expanded": String(step.opened), onclick: () => this.toggle(step),
    }, el("span", { class: "awn-id" }, step.step), el("span", { class: "awn-times" }, ` × ${step.parts.length}`), chevron);
  }

  place(node, line, span) {
    const bars = node.getElementsByClassName("awn-span");
    line.parts.forEach((step, index) => {
      const bar = bars[index];
      const took = isLive(step) ? Math.max(this.store.now() - step.since, 0) : step.took || 0;
      const left = Math.min((100 * (step.start ?? 0)) / span, 99);
      bar.hidden = step.start === null || step.start === undefined;
      bar.style.left = `${left}%`;
      bar.style.width = `${Math.min(Math.max((100 * took) / span, 0.8), 100 - left)}%`;
    });
  }

  tick() {
    if (this.store.gone || !this.node.isConnected) return;
    for (const section of this.store.sections) {
      if (section.status !== "running") continue;
      const drawn = this.sections.get(section.id);
      if (!drawn) continue;
      const elapsed = drawn.head.querySelector(".awn-elapsed");
      if (elapsed) elapsed.textContent = growing(Math.max(this.store.now() - section.started, 0));
      const span = this.span(section);
      drawn.lines.forEach((step, index) => {
        const node = drawn.rows[index].node;
        this.place(node, step, span);
        const cell = node.querySelector(".awn-time[data-at]");
        if (cell) {
          const spent = Math.max(this.store.now() - step.since, 0);
          cell.replaceChildren(growing(spent), step.est > spent ? el("span", { class: "awn-est" }, ` of ~${duration(step.est)}`) : "");
        }
      });
    }
  }
}

// A row tells an error rather than a reason, where there is both.
function whyOf(step) {
  const another = typeof step.reason === "string";
  return { reason: (another ? step.reason : step.why) || "", error: another && step.state !== "invalidated" ? step.why : "" };
}

// A unified diff of source, without its two lines of names; what is left out between its pieces is a line of dots.
function sourceDiff(diff) {
  const lines = diff.replace(/\n$/, "").split("\n").slice(2).filter((line) => !/^@@ -[01][ ,]/.test(line));
  const kinds = { "+": "awn-came", "-": "awn-went", "@": "awn-fold" };
  return el("pre", { class: "awn-diff", tabindex: "0", role: "group", "aria-label": "What changed in the source" },
    ...lines.map((line) => el("span", { class: kinds[line[0]] ?? null }, kinds[line[0]] === "awn-fold" ? "⋯" : line || " ")));
}

function invalidateButton(store, id, key, tabindex = "0") {
  const asked = store.asked.has(id);
  return el("button", {
    class: "awn-drop", type: "button", tabindex, disabled: store.gone || asked, "data-key": key,
    title: asked ? "Waiting for the kernel" : "Invalidate: compute it again next time", "aria-label": `Invalidate ${key}`,
    onclick: (event) => {
      event.stopPropagation();
      if (event.detail < 2) store.remove([id]); // the second click of a double click hits the row that moved up
    },
  }, asked ? el("span", { class: "awn-spin", "aria-hidden": "true" }) : icon(STATES.invalidated.icon));
}
