/* awaitly_nb in JupyterLab and Notebook: marks on the cells, commands, a sidebar.

   A module-federation container written by hand: JupyterLab loads this file, calls `init` with the packages it shares, and
   asks `get` for the plugin. No build, no bundler, no request but those of the page itself. Nothing is written into the
   notebook: a mark is an attribute and an element of the page. What a mark says comes from the kernel, over one comm, and
   so does the panel in the sidebar, code and all: kernel and page speak one version, whichever this file has. */
(() => {
  "use strict";

  const NAME = "awaitly-nb";
  const TARGET = "awaitly_nb.lab";
  const MAGIC = "%%awaitly";
  const PAUSE_MS = 120; // after a keystroke, before the kernel is asked
  const ROW = 38; // px: height of a cell in the sidebar
  const LANES = 5; // of the sidebar's graph; more share the last one

  // Each state: a sign, so that colour is not the only one; what it is called; whether a run would compute.
  const STATES = {
    hit: { sign: "✓", word: "from cache", runs: false },
    cached: { sign: "✓", word: "in the cache", runs: false },
    stored: { sign: "●", word: "stored", runs: false },
    stale: { sign: "↻", word: "stale", runs: true },
    new: { sign: "○", word: "not run yet", runs: true },
    unknown: { sign: "?", word: "not known yet", runs: true },
    computing: { sign: "…", word: "computing", runs: false },
    live: { sign: "", word: "live", runs: false },
    uncached: { sign: "!", word: "not cached", runs: true },
    failed: { sign: "✕", word: "failed", runs: true },
  };

  const CSS = `
.jp-Cell-inputWrapper { position: relative; }
.awn-mark { position: absolute; right: 4px; bottom: -10px; z-index: 2; display: flex; gap: 4px; align-items: center;
  padding: 0 6px; border-radius: 8px; font: 10px/16px var(--jp-ui-font-family); cursor: default;
  color: var(--jp-ui-font-color1); background: var(--jp-layout-color1); border: 1px solid var(--awn-mark, transparent); }
.awn-mark .awn-sign { color: var(--awn-mark, inherit); font-weight: 700; }
.awn-mark progress { width: 48px; height: 6px; }
.jp-Cell[data-awaitly] > .jp-Cell-inputWrapper { box-shadow: inset 3px 0 0 -1px var(--awn-mark, transparent); }
[data-awaitly="hit"], [data-awaitly="cached"], [data-awaitly="stored"] { --awn-mark: var(--jp-success-color1, #2e7d32); }
[data-awaitly="stale"], [data-awaitly="uncached"] { --awn-mark: var(--jp-warn-color1, #b26a00); }
[data-awaitly="new"], [data-awaitly="unknown"] { --awn-mark: var(--jp-border-color1, #757575); }
[data-awaitly="computing"] { --awn-mark: var(--jp-brand-color1, #1976d2); }
[data-awaitly="failed"] { --awn-mark: var(--jp-error-color1, #c62828); }
[data-awaitly="live"] { --awn-mark: transparent; }
.jp-Cell[data-awaitly="live"] .awn-mark { bottom: -15px; color: var(--jp-ui-font-color2); background: none; }
@media (forced-colors: active) { .awn-mark { border-color: CanvasText; forced-color-adjust: auto; } }
.awn-spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.awn-side { padding: 10px 12px; overflow: auto; color: var(--jp-ui-font-color1); background: var(--jp-layout-color1);
  font: var(--jp-ui-font-size1)/1.45 var(--jp-ui-font-family); }
.awn-side > h2 { margin: 0 0 4px; font-size: var(--jp-ui-font-size1); color: var(--jp-ui-font-color0); }
.awn-side > p { margin: 0 0 8px; }
.awn-side .awn-acts { display: flex; flex-wrap: wrap; gap: 6px; margin-bottom: 8px; }
.awn-side .awn-acts button { font: inherit; padding: 2px 10px; border-radius: 6px; cursor: pointer; color: var(--jp-ui-font-color0);
  background: var(--jp-layout-color2); border: 1px solid var(--jp-border-color1); }
.awn-side .awn-acts button[aria-pressed="true"] { border-color: var(--jp-brand-color1); box-shadow: inset 0 0 0 1px var(--jp-brand-color1); }
.awn-side .awn-acts button:disabled { opacity: 0.55; cursor: default; }
.awn-side button:focus-visible { outline: 2px solid var(--jp-brand-color1); outline-offset: 1px; }
.awn-cells { position: relative; max-height: 42vh; overflow: auto; margin: 0 -12px 10px; }
.awn-cells svg { position: absolute; left: 8px; top: 0; fill: none; stroke: var(--jp-border-color0, #bbb); stroke-width: 1.2; pointer-events: none; }
.awn-cells svg circle { fill: var(--jp-layout-color1); stroke: var(--awn-mark, var(--jp-ui-font-color2)); stroke-width: 2; }
.awn-cells svg [data-awaitly="live"] { stroke: var(--jp-ui-font-color2); }
.awn-cells svg .awn-lit { stroke: var(--jp-brand-color1); stroke-width: 2; }
.awn-cells ul { list-style: none; margin: 0; padding: 0; }
.awn-cells button { display: grid; grid-template-columns: 1fr auto; align-content: center; column-gap: 8px; width: 100%; height: ${ROW}px;
  padding: 0 12px 0 calc(12px + var(--awn-gutter)); border: 0; background: none; font: inherit; text-align: left; color: inherit; cursor: pointer; }
.awn-cells button:hover { background: var(--jp-layout-color2); }
.awn-cells button:focus-visible { outline-offset: -2px; }
.awn-cells button > * { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.awn-cells .awn-name { font-weight: 600; color: var(--jp-ui-font-color0); }
.awn-cells .awn-told { grid-column: 1 / -1; font-size: 11px; line-height: 14px; }
.awn-cells .awn-sign { display: inline-block; min-width: 1.3em; font-weight: 700; }
.awn-side .awn-panel { max-width: none; margin: 0 -12px; border-width: 1px 0; border-radius: 0; box-shadow: none; }
.awn-side .awn-panel .awn-steps { max-height: 240px; }
@media (forced-colors: active) { .awn-cells button:hover { outline: 1px solid Highlight; outline-offset: -2px; } }
`;

  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children); // text is appended as text: what users and kernels write is never markup
    return made;
  };

  const duration = (seconds) => {
    if (seconds === null || seconds === undefined) return "";
    const size = Math.abs(seconds);
    if (size < 0.001) return "<1 ms";
    if (size < 1) return `${Math.round(seconds * 1000)} ms`;
    if (size < 10) return `${seconds.toFixed(1)} s`;
    if (size < 90) return `${Math.round(seconds)} s`;
    if (size < 5400) return `${Math.round(seconds / 60)} min`;
    return `${(seconds / 3600).toFixed(1)} h`;
  };

  const bytes = (size) => {
    if (size === null || size === undefined) return "";
    const units = ["B", "kB", "MB", "GB", "TB"];
    const power = size < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(size) / 3));
    const value = size / 1000 ** power;
    return `${value < 10 && power ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
  };

  const shape = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  const sourceOf = (cell) => cell.model.sharedModel.getSource();
  const isCached = (source) => source.trimStart().split("\n", 1)[0].split(" ", 1)[0] === MAGIC;

  /** The marks of one notebook: asks the kernel, listens to it, and draws. */
  class NotebookMarks {
    constructor(panel, changed) {
      this.panel = panel;
      this.changed = changed;
      this.marks = new Map(); // of each cell's id: the mark, and the text that it was made for
      this.waiting = []; // promises of answers, in the order of the questions
      this.comm = null;
      this.plan = new Set(); // ids of the cells that a run of what is stale needs
      this.feeds = []; // pairs of ids: which cell feeds which
      this.auto = false;
      this.asks = false; // whether the kernel was asked for the marks and has not answered
      this.asked = 0;
      this.forget();
      this.shown = true;
      // One voice for all cells: a screen reader hears how a cell ended, and not each second of it.
      this.voice = element("div", { className: "awn-spoken" });
      this.voice.setAttribute("role", "status");
      panel.node.append(this.voice);
      this.followed = new WeakSet();
      const context = panel.sessionContext;
      context.kernelChanged.connect(() => this.reconnect());
      context.statusChanged.connect((_, status) => this.onStatus(status));
      panel.content.model?.cells.changed.connect(() => this.onCells());
      panel.content.modelChanged.connect(() => {
        panel.content.model?.cells.changed.connect(() => this.onCells());
        this.onCells();
      });
      panel.disposed.connect(() => this.dispose());
      this.timer = setInterval(() => this.tick(), 1000);
      context.ready.then(() => {
        this.onCells();
        this.reconnect();
      });
    }

    dispose() {
      clearInterval(this.timer);
      clearTimeout(this.pause);
      this.comm = null;
    }

    get cells() {
      return this.panel.content.widgets.filter((cell) => cell.model?.type === "code");
    }

    get kernel() {
      return this.panel.sessionContext.session?.kernel ?? null;
    }

    // -- the kernel

    reconnect() {
      this.comm = null;
      this.clear();
      this.connect();
    }

    /** Listen for the kernel, which opens the comm at `%load_ext`; and open it, for a kernel that was there before the page.
        A kernel without the extension closes it at once. */
    connect() {
      const kernel = this.kernel;
      if (!kernel) return;
      kernel.registerCommTarget(TARGET, (comm) => this.adopt(comm));
      if (this.comm || !this.cells.some((cell) => sourceOf(cell).includes("awaitly"))) return;
      const comm = kernel.createComm(TARGET);
      this.adopt(comm);
      comm.open({});
    }

    adopt(comm) {
      comm.onMsg = (message) => this.receive(message.content.data, message.buffers);
      comm.onClose = () => {
        if (this.comm === comm) this.comm = null;
        this.changed();
      };
      this.comm = comm;
      this.asks = false;
      this.forget();
    }

    /** Nothing was told to this kernel yet. */
    forget() {
      this.texts = new Map(); // of each cell in order, as it was told last
      this.order = [];
      this.base = null; // number of the latest message, which the next one builds on
    }

    onStatus(status) {
      if (status === "restarting" || status === "autorestarting" || status === "dead") {
        this.comm = null;
        this.fresh = status !== "dead";
        this.clear();
      } else if (status === "idle" && this.fresh) {
        this.fresh = false;
        this.connect();
      } else if (status === "idle" && this.late) {
        this.late = false;
        this.ask();
      }
    }

    onExecuted() {
      this.ask();
    }

    send(data) {
      this.comm?.send(data);
    }

    /** Ask a question, and return its answer. */
    question(data) {
      if (!this.comm) return Promise.resolve({ type: "error", text: "No kernel with awaitly_nb: run %load_ext awaitly_nb" });
      return new Promise((resolve) => {
        this.waiting.push({ type: data.type, resolve });
        this.send(data);
      });
    }

    receive(data, buffers) {
      switch (data.type) {
        case "hello":
          this.asks = false;
          this.forget();
          this.ask(0);
          return;
        case "busy":
          this.asks = false;
          this.late = true;
          return;
        case "panel":
          this.onPanel?.(data, buffers);
          return;
        case "mark":
          this.set(data.id, data.mark, data.source);
          if (data.mark.state !== "computing") this.voice.textContent = `${data.mark.name || "cell"}: ${this.words(data.mark)}`;
          for (const cell of this.cells) if (cell.model.id === data.id) this.drawCell(cell);
          this.changed();
          return;
        case "cells":
          this.asks = false;
          if (this.again) this.ask(0); // texts changed meanwhile; what was answered is right for those that did not
          // Only what is different now was sent; of the others the kernel has said so, too.
          this.plan = data.plan ? new Set(data.plan) : this.plan;
          this.feeds = data.feeds ?? this.feeds;
          this.auto = data.auto ?? this.auto;
          for (const cell of this.cells) this.settle(cell, data.marks[cell.model.id]);
          this.changed();
          return;
        default: {
          if (data.of === "cells") this.asks = false;
          const at = this.waiting.findIndex((one) => one.type === data.type || data.type === "error");
          if (at >= 0) this.waiting.splice(at, 1)[0].resolve(data);
        }
      }
    }

    clear() {
      this.marks.clear();
      this.counted = null;
      this.plan.clear();
      this.waiting.splice(0).forEach(({ resolve }) => resolve({ type: "error", text: "The kernel was restarted" }));
      this.draw();
    }

    set(id, mark, source) {
      this.marks.set(id, { mark, source });
      this.counted = null;
    }

    /** Take the mark that a cell has by the kernel's answer, which is the one of before where none came. */
    settle(cell, mark) {
      const { id } = cell.model;
      const [known, source] = [this.marks.get(id), this.texts.get(id)];
      if (known?.mark.state === "computing" || source === undefined || !(mark ?? known)) return;
      if (!mark && known.source === source) return;
      this.set(id, mark ?? known.mark, source);
      this.drawCell(cell);
    }

    /** Ask for the marks of all cells, when the typing pauses. */
    ask(pause = PAUSE_MS) {
      clearTimeout(this.pause);
      this.pause = setTimeout(() => {
        if (!this.comm) return;
        // One question at a time: a kernel that ran cells meanwhile need not answer once for each.
        this.again = this.asks;
        if (this.asks) return;
        this.asks = true;
        const told = this.texts;
        this.texts = new Map(this.cells.map((cell) => [cell.model.id, sourceOf(cell)]));
        const cells = [...this.texts].filter(([id, source]) => told.get(id) !== source).map(([id, source]) => ({ id, source }));
        const order = [...this.texts.keys()];
        const isMoved = order.length !== this.order.length || order.some((id, place) => id !== this.order[place]);
        this.order = order;
        this.asked += 1;
        this.send({ type: "cells", cells, ...(isMoved ? { order } : {}), base: this.base, seq: this.asked });
        this.base = this.asked;
      }, pause);
    }

    // -- the page

    onCells() {
      for (const cell of this.cells) {
        if (this.followed.has(cell)) continue;
        this.followed.add(cell);
        cell.model.sharedModel.changed.connect((_, change) => {
          if (change.sourceChange === undefined) return;
          this.drawCell(cell);
          this.ask();
        });
        cell.ready?.then(() => this.drawCell(cell));
        cell.inViewportChanged?.connect(() => this.drawCell(cell));
      }
      this.draw();
      this.ask();
    }

    /** The mark of a cell as its text is now: an edit makes it stale before the kernel says why. */
    markOf(cell) {
      const found = this.marks.get(cell.model.id);
      if (!found) return null;
      const { mark, source } = found;
      if (source === undefined || source === sourceOf(cell) || ["computing", "live"].includes(mark.state)) return mark;
      return this.keeps(cell) ? { ...mark, state: "stale", reason: "its text was edited" } : null;
    }

    /** Whether something of this cell may be stored. */
    keeps(cell) {
      return this.auto || isCached(sourceOf(cell));
    }

    draw() {
      for (const cell of this.cells) this.drawCell(cell);
      this.changed();
    }

    drawCell(cell) {
      this.counted = null;
      const node = cell.node;
      const mark = this.shown ? this.markOf(cell) : null;
      let shown = node.querySelector(":scope > .jp-Cell-inputWrapper > .awn-mark");
      if (!mark) {
        delete node.dataset.awaitly;
        shown?.remove();
        return;
      }
      node.dataset.awaitly = mark.state;
      if (!shown) {
        const wrapper = node.querySelector(":scope > .jp-Cell-inputWrapper");
        if (!wrapper) return; // not drawn yet: it will be when it comes into view
        shown = element("div", { className: "awn-mark" });
        shown.setAttribute("role", "note");
        wrapper.append(shown);
      }
      const text = this.words(mark);
      if (shown.dataset.text !== text) {
        shown.dataset.text = text;
        const sign = element("span", { className: "awn-sign", textContent: STATES[mark.state].sign });
        sign.setAttribute("aria-hidden", "true");
        shown.replaceChildren(sign, element("span", { textContent: text }));
        if (mark.state === "computing") shown.append(this.bar(mark));
      }
      shown.title = mark.reason || text;
      shown.setAttribute("aria-label", `awaitly: ${text}${mark.reason ? `, ${mark.reason}` : ""}`);
    }

    words(mark) {
      const word = STATES[mark.state].word;
      if (mark.state === "computing") {
        const elapsed = Math.max(0, Math.floor(Date.now() / 1000 - mark.began_at));
        const usual = mark.seconds === null ? "" : `, usually ${duration(mark.seconds)}`;
        return `${word}${elapsed < 1 ? "" : ` ${elapsed} s`}${usual}`;
      }
      if (mark.state === "live" || mark.seconds === null) return word;
      if (mark.state === "hit" || mark.state === "cached") return `${word}, computed in ${duration(mark.seconds)}`;
      if (mark.state === "stored") return `computed in ${duration(mark.seconds)}, stored`;
      return word;
    }

    bar(mark) {
      const bar = element("progress");
      bar.setAttribute("aria-label", "how far");
      if (mark.seconds) {
        bar.max = mark.seconds;
        bar.value = Math.min(mark.seconds, Date.now() / 1000 - mark.began_at);
      }
      return bar;
    }

    tick() {
      for (const cell of this.cells) {
        if (this.marks.get(cell.model.id)?.mark.state === "computing") this.drawCell(cell);
      }
    }

    /** What the plan says: which cells would run, and how long that may take. Buttons and menus ask again and again. */
    get total() {
      this.counted ??= this.count();
      return this.counted;
    }

    count() {
      const marked = this.cells.map((cell) => ({ cell, mark: this.markOf(cell) })).filter(({ mark }) => mark);
      // The kernel's plan, with what was edited since: also the cells that leave what these read.
      const runs = marked.filter(({ cell, mark }) => STATES[mark.state].runs || this.plan.has(cell.model.id));
      const served = marked.filter(({ mark }) => ["hit", "cached", "stored"].includes(mark.state));
      const sum = (list, member) => list.reduce((total, { mark }) => total + (mark[member] ?? 0), 0);
      return { marked, runs, served, seconds: sum(runs, "seconds"), saved: sum(marked, "saved_s") };
    }
  }

  /** The panel of the kernel in the sidebar: what an output is to a widget, this is to the panel's page code. */
  class PanelHost {
    constructor(marks, place) {
      this.marks = marks;
      this.comm = marks.comm;
      this.place = place;
      this.listeners = [];
      this.ends = [];
      this.queue = Promise.resolve(); // messages wait until the code is there
      marks.onPanel = (data, buffers) => {
        this.queue = this.queue.then(() => this.take(data, buffers)).catch((error) => console.error(NAME, error));
      };
      place.replaceChildren(element("p", { textContent: "Waiting for the kernel…" }));
      this.send({ op: "open" });
    }

    async take(data, buffers) {
      if (this.ended) return;
      if (!data.esm) {
        for (const listener of this.listeners) listener(data.message, buffers);
        if (data.message.removed?.length || data.message.added?.length) this.marks.ask(); // what is stored is different now
        return;
      }
      this.values = { boot: data.boot, token: data.token, model_ref: "" };
      const url = URL.createObjectURL(new Blob([data.esm], { type: "text/javascript" }));
      const { default: panel } = await import(url);
      URL.revokeObjectURL(url);
      if (this.ended) return;
      this.place.replaceChildren(element("style", { textContent: data.css }));
      this.ends.push(panel.initialize({ model: this }), panel.render({ model: this, el: this.place }));
    }

    end() {
      this.ended = true;
      this.marks.onPanel = null;
      for (const end of this.ends.reverse()) end?.();
      if (!this.comm.isDisposed) this.send({ op: "close" });
    }

    // -- as a widget's model

    get(name) {
      return this.values[name];
    }

    on(event, listener) {
      if (event === "msg:custom") this.listeners.push(listener);
    }

    send(message) {
      this.comm.send({ type: "panel", message });
    }

    get widget_manager() {
      return { get_model: async () => ({ comm_live: !this.comm.isDisposed, widget_manager: { kernel: this.marks.kernel } }) };
    }
  }

  /** The sidebar: the cells of this notebook and what flows between them, and apart from them the panel. */
  class Sidebar {
    constructor(widget, current, execute) {
      this.widget = widget;
      this.current = current;
      this.execute = execute;
      const button = (textContent, id) => element("button", { textContent, onclick: () => execute(`${NAME}:${id}`) });
      this.head = element("p");
      this.run = button("Run stale cells", "run-stale");
      this.auto = button("Auto", "toggle-auto");
      this.auto.title = "Cache plain cells by themselves, where that is worth it";
      this.undo = button("Undo", "undo");
      this.undo.hidden = true;
      this.list = element("ul");
      this.cells = element("div", { className: "awn-cells" }, this.list);
      this.place = element("div");
      widget.node.classList.add("awn-side");
      widget.node.append(
        element("h2", { textContent: "This notebook" }), this.head,
        element("div", { className: "awn-acts" }, this.run, this.auto, this.undo), this.cells, this.place,
      );
      widget.onAfterShow = widget.onAfterHide = () => this.draw();
    }

    /** Draw before the next frame, however often it is asked for. */
    draw() {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        this.drawNow();
      });
    }

    drawNow() {
      const marks = this.widget.isVisible ? this.current() : null;
      this.hostPanel(marks);
      if (!this.widget.isVisible) return;
      this.run.disabled = this.auto.disabled = !marks?.comm;
      this.auto.setAttribute("aria-pressed", String(marks?.auto ?? false));
      if (!marks?.comm) {
        this.head.textContent = "No kernel with awaitly_nb here: run %load_ext awaitly_nb in a cell.";
        this.drawCells(null, []);
        return;
      }
      const { marked, runs, served, seconds, saved } = marks.total;
      const about = seconds ? `, about ${duration(seconds)}` : "";
      const spared = saved > 0 ? `, ${duration(saved)} saved` : "";
      this.head.textContent = `${served.length} in the cache, ${runs.length} would run${about}${spared}`;
      this.run.disabled = runs.length === 0;
      const wired = new Set(marks.feeds.flat());
      this.drawCells(marks, marked.filter(({ cell, mark }) => mark.state !== "live" || wired.has(cell.model.id)));
    }

    /** While the sidebar is in sight the kernel draws its panel here; of another notebook, or none, it is another one. */
    hostPanel(marks) {
      if ((this.host?.comm ?? null) === (marks?.comm ?? null)) return;
      this.host?.end();
      this.place.replaceChildren();
      this.host = marks?.comm ? new PanelHost(marks, this.place) : null;
    }

    drawCells(marks, shown) {
      const rows = shown.map(({ cell, mark }) => ({ cell, mark, ...this.factsOf(cell, mark) }));
      const places = new Map(rows.map(({ cell }, place) => [cell.model.id, place]));
      const wires = (marks?.feeds ?? []).map((pair) => pair.map((id) => places.get(id))).filter(([from, to]) => from < to);
      const told = JSON.stringify([rows.map(({ name, facts, mark }) => [name, facts, mark]), wires]);
      if (told === this.told) return;
      this.told = told;
      const named = (numbers) => numbers.map((place) => rows[place].name).join(", ");
      const items = rows.map((row, place) => {
        const reads = named(wires.filter(([, to]) => to === place).map(([from]) => from));
        const feeds = named(wires.filter(([from]) => from === place).map(([, to]) => to));
        const hints = [row.mark.reason, reads && `reads ${reads}`, feeds && `feeds ${feeds}`].filter(Boolean);
        return this.row(marks, row, place, hints);
      });
      const drawn = this.graph(rows, wires);
      this.cells.style.setProperty("--awn-gutter", drawn ? `${drawn.getAttribute("width")}px` : "0px");
      const focused = [...this.list.children].findIndex((item) => item.contains(document.activeElement));
      this.list.replaceChildren(...items);
      this.cells.replaceChildren(...(drawn ? [drawn] : []), this.list);
      if (focused >= 0) items[focused]?.firstChild.focus({ preventScroll: true });
    }

    factsOf(cell, mark) {
      const { sign, word } = STATES[mark.state];
      const saved = mark.state === "hit" && mark.saved_s > 0.05 ? `saved ${duration(mark.saved_s)}` : "";
      const name = mark.name || sourceOf(cell).trim().split("\n", 1)[0] || "cell";
      return { sign, name, facts: [word, saved, bytes(mark.size_bytes)].filter(Boolean).join(" · ") };
    }

    row(marks, { cell, mark, sign, name, facts }, place, hints) {
      const signed = element("span", { className: "awn-sign", textContent: sign });
      signed.setAttribute("aria-hidden", "true");
      signed.style.color = "var(--awn-mark)";
      const light = (on) => {
        for (const wire of this.cells.querySelectorAll(`[data-of~="${place}"]`)) wire.classList.toggle("awn-lit", on);
      };
      const button = element(
        "button",
        {
          title: hints.join("\n"),
          onclick: () => {
            const notebook = marks.panel.content;
            notebook.activeCellIndex = notebook.widgets.indexOf(cell);
            notebook.scrollToCell?.(cell);
          },
          onmouseenter: () => light(true), onmouseleave: () => light(false), onfocus: () => light(true), onblur: () => light(false),
        },
        element("span", { className: "awn-name", textContent: name }),
        element("span", { textContent: mark.state === "live" ? "" : duration(mark.seconds) }),
        element("span", { className: "awn-told" }, ...(sign ? [signed] : []), facts),
      );
      const item = element("li", {}, button);
      item.dataset.awaitly = mark.state;
      return item;
    }

    /** What flows from cell to cell: a dot for each, and from each that feeds others a line in a lane of its own. */
    graph(rows, wires) {
      if (!wires.length) return null;
      const ends = []; // of each lane, the last row that it reaches
      const lanes = new Map();
      for (const from of new Set(wires.map(([from]) => from))) {
        const last = Math.max(...wires.filter(([one]) => one === from).map(([, to]) => to));
        const free = ends.findIndex((end) => end <= from);
        const lane = Math.min(free < 0 ? ends.length : free, LANES - 1);
        ends[lane] = Math.max(ends[lane] ?? 0, last);
        lanes.set(from, lane);
      }
      const width = 14 + 8 * ends.length;
      const [x, middle] = [width - 6, (place) => (place + 0.5) * ROW];
      const svg = shape("svg", { width, height: rows.length * ROW, "aria-hidden": "true" });
      for (const [from, to] of wires) {
        const lane = x - 8 * (lanes.get(from) + 1);
        const [top, bottom] = [middle(from), middle(to)];
        svg.append(shape("path", {
          d: `M${x} ${top}C${lane} ${top} ${lane} ${top + 4} ${lane} ${top + 14}V${bottom - 14}C${lane} ${bottom - 4} ${lane} ${bottom} ${x} ${bottom}`,
          "data-of": `${from} ${to}`,
        }));
      }
      rows.forEach(({ mark }, place) => svg.append(shape("circle", { cx: x, cy: middle(place), r: 3.5, "data-awaitly": mark.state })));
      return svg;
    }

    /** Offer to bring back what a command removed, as long as the kernel can. */
    offerUndo(removed) {
      clearTimeout(this.offered);
      this.undo.hidden = !removed;
      if (removed) this.offered = setTimeout(() => this.offerUndo(false), 60_000);
    }
  }

  const NO_ARGUMENTS = { args: { type: "object", properties: {}, additionalProperties: false } };
  const OF_A_CELL = {
    args: {
      type: "object",
      properties: { cell: { type: "string", description: "Id of a code cell; by default the active one." } },
      additionalProperties: false,
    },
  };

  const makePlugin = ({ notebook, apputils, widgets, registry, ui }) => ({
    id: `${NAME}:plugin`,
    description: "Marks of cached cells, commands to run what is stale, and a sidebar.",
    autoStart: true,
    requires: [notebook.INotebookTracker],
    optional: [apputils.ICommandPalette, registry.ISettingRegistry],
    activate: (app, tracker, palette, settings) => {
      const all = new WeakMap();
      const { NotebookActions } = notebook;
      document.head.append(element("style", { textContent: CSS }));

      const current = () => (tracker.currentWidget ? (all.get(tracker.currentWidget) ?? null) : null);
      const icon = (name, path) =>
        new ui.LabIcon({
          name: `${NAME}:${name}`,
          svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" d="${path}"/></svg>`,
        });
      const icons = {
        stale: icon("stale", "M12 6V3L8 7l4 4V8a4 4 0 1 1-4 4H6a6 6 0 1 0 6-6zM4 20h16v2H4z"),
        why: icon("why", "M11 17h2v2h-2zM12 5a4 4 0 0 0-4 4h2a2 2 0 1 1 4 0c0 2-3 1.8-3 5h2c0-2.2 3-2.5 3-5a4 4 0 0 0-4-4z"),
        again: icon("again", "M12 5V1L7 6l5 5V7a6 6 0 1 1-6 6H4a8 8 0 1 0 8-8z"),
      };

      const panelWidget = new widgets.Widget();
      panelWidget.id = `${NAME}-sidebar`;
      panelWidget.title.caption = "awaitly: cached cells and keys";
      panelWidget.title.icon = icons.stale;
      const sidebar = new Sidebar(panelWidget, current, (id) => app.commands.execute(id));
      app.shell.add(panelWidget, "right", { rank: 900 });

      const changed = () => {
        sidebar.draw();
        for (const id of ["run-stale", "run-all", "toggle-cell", "toggle-auto"]) app.commands.notifyCommandChanged(`${NAME}:${id}`);
      };
      tracker.widgetAdded.connect((_, panel) => all.set(panel, new NotebookMarks(panel, changed)));
      tracker.forEach((panel) => all.has(panel) || all.set(panel, new NotebookMarks(panel, changed)));
      tracker.currentChanged.connect(changed);
      NotebookActions.executed.connect((_, { notebook: content }) => {
        tracker.find((panel) => {
          if (panel.content === content) all.get(panel)?.onExecuted();
          return false;
        });
      });

      settings?.load(`${NAME}:plugin`).then((loaded) => {
        const apply = () => {
          tracker.forEach((panel) => {
            const marks = all.get(panel);
            if (!marks) return;
            marks.shown = loaded.composite.marks !== false;
            marks.draw();
          });
        };
        loaded.changed.connect(apply);
        apply();
      });

      const chosen = (args) => {
        const marks = current();
        if (!marks) return null;
        const active = marks.panel.content.activeCell;
        const cell = args?.cell ? marks.cells.find((one) => one.model.id === args.cell) : active;
        return cell?.model.type === "code" ? { marks, cell, mark: marks.markOf(cell) } : null;
      };
      const run = (marks, cells) =>
        NotebookActions.runCells(marks.panel.content, cells, marks.panel.sessionContext);
      const tell = (title, text) =>
        apputils.showDialog({
          title,
          body: new widgets.Widget({ node: element("pre", { textContent: text, tabIndex: 0 }) }),
          buttons: [apputils.Dialog.okButton({ label: "Close" })],
        });

      const command = (id, options) => {
        app.commands.addCommand(`${NAME}:${id}`, { describedBy: OF_A_CELL, ...options });
        palette?.addItem({ command: `${NAME}:${id}`, category: "awaitly" });
      };

      command("run-stale", {
        label: "Run stale cells",
        caption: () => `Run the ${current()?.total.runs.length ?? 0} cells that would compute`,
        icon: icons.stale,
        describedBy: NO_ARGUMENTS,
        isEnabled: () => (current()?.total.runs.length ?? 0) > 0,
        execute: () => {
          const marks = current();
          return marks && run(marks, marks.total.runs.map(({ cell }) => cell));
        },
      });
      command("run-all", {
        label: () => {
          const marks = current();
          if (!marks) return "Run all";
          const { served, seconds } = marks.total;
          return `Run all (${served.length} from cache${seconds ? `, about ${duration(seconds)}` : ""})`;
        },
        describedBy: NO_ARGUMENTS,
        isEnabled: () => current() !== null,
        execute: () => {
          const { panel } = current();
          return NotebookActions.runAll(panel.content, panel.sessionContext);
        },
      });
      command("toggle-cell", {
        label: () => {
          const found = chosen();
          return found && isCached(sourceOf(found.cell)) ? "Always run this cell" : "Cache this cell";
        },
        isEnabled: () => chosen() !== null,
        execute: (args) => {
          const found = chosen(args);
          if (!found) return;
          const source = sourceOf(found.cell);
          const made = /^([A-Za-z_]\w*)\s*(?:=(?!=)|,)/m.exec(source)?.[1] ?? "cell";
          found.cell.model.sharedModel.setSource(
            isCached(source) ? source.trimStart().split("\n").slice(1).join("\n") : `${MAGIC} ${made}\n${source}`,
          );
        },
      });
      command("recompute-cell", {
        label: "Recompute this cell",
        caption: "Run this cell and replace what is stored",
        icon: icons.again,
        isEnabled: () => chosen() !== null,
        execute: async (args) => {
          const found = chosen(args);
          if (!found) return false;
          if (found.marks.keeps(found.cell)) await found.marks.question({ type: "recompute", id: found.cell.model.id });
          return run(found.marks, [found.cell]);
        },
      });
      command("invalidate-cell", {
        label: "Invalidate this cell",
        caption: "Remove what is stored; it can be undone for a minute",
        isEnabled: () => chosen() !== null,
        execute: async (args) => {
          const found = chosen(args);
          if (!found?.marks.keeps(found.cell)) return false;
          const { id } = found.cell.model;
          const answer = await found.marks.question({ type: "invalidate", id, source: sourceOf(found.cell) });
          found.marks.ask(0);
          sidebar.offerUndo(answer.removed);
          return answer.removed;
        },
      });
      command("undo", {
        label: "Undo the last invalidation",
        describedBy: NO_ARGUMENTS,
        isEnabled: () => Boolean(current()?.comm),
        execute: async () => {
          const marks = current();
          sidebar.offerUndo(false);
          const answer = await marks?.question({ type: "undo" });
          marks?.ask(0);
          return answer?.restored ?? 0;
        },
      });
      command("toggle-auto", {
        label: () => (current()?.auto ? "Auto off" : "Auto on"),
        caption: "Cache plain cells by themselves, where that is worth it",
        describedBy: {
          args: {
            type: "object",
            properties: { on: { type: "boolean", description: "Whether plain cells are looked after; by default the other way." } },
            additionalProperties: false,
          },
        },
        isEnabled: () => Boolean(current()?.comm),
        execute: async (args) => {
          const marks = current();
          if (!marks?.comm) return false;
          const answer = await marks.question({ type: "auto", on: args?.on ?? !marks.auto });
          marks.ask(0);
          return answer.auto ?? false;
        },
      });
      command("why", {
        label: "Why?",
        caption: "Why this cell ran, or where its result came from",
        icon: icons.why,
        isEnabled: () => chosen() !== null,
        execute: async (args) => {
          const found = chosen(args);
          if (!found) return "";
          const name = found.mark?.state === "live" ? "" : found.mark?.name;
          const answer = name ? await found.marks.question({ type: "why", id: found.cell.model.id, name }) : null;
          const told = answer?.text ?? "A plain cell: it runs each time.";
          const reason = found.mark?.reason ?? "";
          const text = told.includes(reason) ? told : `${reason}\n\n${told}`;
          void tell(name ? `Why ${name}?` : "Why?", text);
          return text;
        },
      });
      command("show-sidebar", {
        label: "Show the awaitly sidebar",
        describedBy: NO_ARGUMENTS,
        execute: () => {
          app.shell.activateById(panelWidget.id);
        },
      });
    },
  });

  let scope = null;

  /** The module that the page shares under this name: the one it uses itself. */
  const shared = async (name) => {
    const versions = Object.values(scope[name] ?? {});
    const used = versions.find((one) => one.loaded) ?? versions[0];
    if (!used) throw new Error(`${NAME}: this page shares no ${name}`);
    return (await used.get())();
  };

  (window._JUPYTERLAB ??= {})[NAME] = {
    init: (shares) => {
      scope = shares;
    },
    get: async (module) => {
      if (module !== "./extension") return () => ({});
      const [notebook, apputils, widgets, registry, ui] = await Promise.all(
        ["notebook", "apputils", "settingregistry", "ui-components"]
          .map((name) => `@jupyterlab/${name}`)
          .toSpliced(2, 0, "@lumino/widgets")
          .map(shared),
      );
      const plugin = makePlugin({ notebook, apputils, widgets, registry, ui });
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
