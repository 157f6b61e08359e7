/* awaitly_nb in JupyterLab and Notebook: marks on the cells, commands, a sidebar.

   A module-federation container written by hand: JupyterLab loads this file, calls `init` with the packages it shares, and
   asks `get` for the plugin. No build, no bundler, no request but those of the page itself. Nothing is written into the
   notebook: a mark is an attribute and an element of the page. What a mark says comes from the kernel, over one comm. */
(() => {
  "use strict";

  const NAME = "awaitly-nb";
  const TARGET = "awaitly_nb.lab";
  const MAGIC = "%%awaitly";
  const PAUSE_MS = 120; // after a keystroke, before the kernel is asked

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
.awn-mark { position: absolute; right: 4px; bottom: 2px; z-index: 2; display: flex; gap: 4px; align-items: center;
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
.jp-Cell[data-awaitly="live"] .awn-mark { opacity: 0.75; border-color: transparent; }
@media (forced-colors: active) { .awn-mark { border-color: CanvasText; forced-color-adjust: auto; } }
.awn-side { padding: 8px; overflow: auto; color: var(--jp-ui-font-color1); background: var(--jp-layout-color1);
  font: var(--jp-ui-font-size1) var(--jp-ui-font-family); }
.awn-side h2 { margin: 12px 0 4px; font-size: var(--jp-ui-font-size1); }
.awn-side h2:first-child { margin-top: 0; }
.awn-side p { margin: 4px 0; color: var(--jp-ui-font-color1); }
.awn-side ul { list-style: none; margin: 0; padding: 0; }
.awn-side li { display: flex; gap: 6px; align-items: baseline; padding: 2px 0; }
.awn-side li .awn-name { flex: 1; min-width: 4em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.awn-side li .awn-facts { white-space: nowrap; font-size: 11px; }
.awn-side .awn-sign { width: 1em; text-align: center; color: var(--awn-mark, inherit); font-weight: 700; }
.awn-side button { font: inherit; color: var(--jp-ui-font-color1); background: var(--jp-layout-color2);
  border: 1px solid var(--jp-border-color1); border-radius: 3px; padding: 1px 6px; cursor: pointer; }
.awn-side li button.awn-link { border: 0; background: none; padding: 0; text-align: left; }
.awn-side button:disabled { opacity: 0.6; cursor: default; }
.awn-side input { width: 100%; box-sizing: border-box; font: inherit; color: var(--jp-ui-font-color1);
  background: var(--jp-layout-color0); border: 1px solid var(--jp-border-color1); padding: 2px 4px; }
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
      this.asked = 0;
      this.shown = true;
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
      comm.onMsg = (message) => this.receive(message.content.data);
      comm.onClose = () => {
        if (this.comm === comm) this.comm = null;
        this.changed();
      };
      this.comm = comm;
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

    receive(data) {
      switch (data.type) {
        case "hello":
          this.ask(0);
          return;
        case "busy":
          this.late = true;
          return;
        case "mark":
          this.set(data.id, data.mark, data.source);
          this.draw();
          return;
        case "cells":
          if (data.seq !== this.asked) return; // a later text is on its way
          for (const [id, mark] of Object.entries(data.marks)) {
            if (this.marks.get(id)?.mark.state !== "computing") this.set(id, mark, this.texts.get(id));
          }
          this.plan = new Set(data.plan);
          this.draw();
          return;
        default: {
          const at = this.waiting.findIndex((one) => one.type === data.type || data.type === "error");
          if (at >= 0) this.waiting.splice(at, 1)[0].resolve(data);
        }
      }
    }

    clear() {
      this.marks.clear();
      this.plan.clear();
      this.waiting.splice(0).forEach(({ resolve }) => resolve({ type: "error", text: "The kernel was restarted" }));
      this.draw();
    }

    set(id, mark, source) {
      this.marks.set(id, { mark, source });
    }

    /** Ask for the marks of all cells, when the typing pauses. */
    ask(pause = PAUSE_MS) {
      clearTimeout(this.pause);
      this.pause = setTimeout(() => {
        if (!this.comm) return;
        const cells = this.cells.map((cell) => ({ id: cell.model.id, source: sourceOf(cell) }));
        this.texts = new Map(cells.map((cell) => [cell.id, cell.source]));
        this.asked += 1;
        this.send({ type: "cells", cells, seq: this.asked });
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
      return isCached(sourceOf(cell)) ? { ...mark, state: "stale", reason: "its text was edited" } : null;
    }

    draw() {
      for (const cell of this.cells) this.drawCell(cell);
      this.changed();
    }

    drawCell(cell) {
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
        shown.setAttribute("role", "status");
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
        return elapsed < 1 ? word : `${word} ${elapsed} s${usual}`;
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

    /** What the plan says: which cells would run, and how long that may take. */
    get total() {
      const marked = this.cells.map((cell) => ({ cell, mark: this.markOf(cell) })).filter(({ mark }) => mark);
      // The kernel's plan, with what was edited since: also the cells that leave what these read.
      const runs = marked.filter(({ cell, mark }) => STATES[mark.state].runs || this.plan.has(cell.model.id));
      const served = marked.filter(({ mark }) => ["hit", "cached", "stored"].includes(mark.state));
      const sum = (list, member) => list.reduce((total, { mark }) => total + (mark[member] ?? 0), 0);
      return { marked, runs, served, seconds: sum(runs, "seconds"), saved: sum(marked, "saved_s") };
    }
  }

  /** The sidebar: the cells of this notebook, and apart from them the whole folder. */
  class Sidebar {
    constructor(widget, current, execute) {
      this.node = widget.node;
      this.node.classList.add("awn-side");
      this.current = current;
      this.execute = execute;
      this.head = element("p");
      this.run = element("button", { textContent: "Run stale cells", onclick: () => execute("awaitly-nb:run-stale") });
      this.list = element("ul");
      this.search = element("input", { type: "search", placeholder: "Search keys, or a glob: score:*" });
      this.search.setAttribute("aria-label", "Search the keys of the folder");
      this.search.oninput = () => {
        clearTimeout(this.pause);
        this.pause = setTimeout(() => this.refresh(), 200);
      };
      this.folder = element("ul");
      this.found = element("p");
      this.undo = element("button", { textContent: "Undo", hidden: true, onclick: () => this.restore() });
      this.node.append(
        element("h2", { textContent: "This notebook" }), this.head, this.run, this.list,
        element("h2", { textContent: "The folder" }), this.search, this.found, this.undo, this.folder,
      );
      this.draw();
    }

    draw() {
      const marks = this.current();
      if (!marks?.comm) {
        this.head.textContent = "No kernel with awaitly_nb here: run %load_ext awaitly_nb in a cell.";
        this.run.disabled = true;
        this.list.replaceChildren();
        return;
      }
      const { marked, runs, served, seconds, saved } = marks.total;
      const about = seconds ? `, about ${duration(seconds)}` : "";
      const spared = saved > 0 ? `, ${duration(saved)} saved` : "";
      this.head.textContent = `${served.length} from cache, ${runs.length} would run${about}${spared}`;
      this.run.disabled = runs.length === 0;
      this.list.replaceChildren(
        ...marked.filter(({ mark }) => mark.state !== "live").map(({ cell, mark }) => this.row(marks, cell, mark)),
      );
    }

    row(marks, cell, mark) {
      const name = element("button", {
        className: "awn-name awn-link", textContent: mark.name, title: mark.reason,
        onclick: () => {
          const notebook = marks.panel.content;
          notebook.activeCellIndex = notebook.widgets.indexOf(cell);
          notebook.scrollToCell?.(cell);
        },
      });
      const facts = [STATES[mark.state].word, duration(mark.seconds), bytes(mark.size_bytes)].filter(Boolean).join(" · ");
      const sign = element("span", { className: "awn-sign", textContent: STATES[mark.state].sign });
      sign.setAttribute("aria-hidden", "true");
      const row = element("li", {}, sign, name, element("span", { className: "awn-facts", textContent: facts }));
      row.dataset.awaitly = mark.state;
      return row;
    }

    async refresh() {
      const marks = this.current();
      if (!marks?.comm) return;
      const answer = await marks.question({ type: "entries", pattern: this.search.value.trim() });
      if (answer.type === "error") {
        this.found.textContent = answer.text;
        return;
      }
      const more = answer.count - answer.entries.length;
      this.found.textContent =
        `${answer.count} ${answer.count === 1 ? "key" : "keys"}, ${bytes(answer.size_bytes)}` + (more > 0 ? `; the newest ${answer.entries.length}` : "");
      this.folder.replaceChildren(...answer.entries.map((entry) => this.entry(marks, entry)));
    }

    entry(marks, entry) {
      const remove = element("button", { textContent: "Invalidate" });
      remove.setAttribute("aria-label", `Invalidate ${entry.key}`);
      remove.onclick = async () => {
        await marks.question({ type: "remove", key: entry.key });
        this.undo.hidden = false;
        await this.refresh();
        marks.ask(0);
      };
      const facts = [duration(entry.duration_s), bytes(entry.size_bytes)].filter(Boolean).join(" · ");
      return element(
        "li", {},
        element("span", { className: "awn-name", textContent: entry.key, title: entry.key }),
        element("span", { className: "awn-facts", textContent: facts }),
        remove,
      );
    }

    async restore() {
      const marks = this.current();
      this.undo.hidden = true;
      await marks?.question({ type: "undo" });
      await this.refresh();
      marks?.ask(0);
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
        for (const id of ["run-stale", "run-all", "toggle-cell"]) app.commands.notifyCommandChanged(`${NAME}:${id}`);
      };
      tracker.widgetAdded.connect((_, panel) => all.set(panel, new NotebookMarks(panel, changed)));
      tracker.forEach((panel) => all.has(panel) || all.set(panel, new NotebookMarks(panel, changed)));
      tracker.currentChanged.connect(() => {
        changed();
        sidebar.refresh();
      });
      NotebookActions.executed.connect((_, { notebook: content }) => {
        tracker.find((panel) => {
          if (panel.content === content) all.get(panel)?.onExecuted();
          return false;
        });
        sidebar.refresh();
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
          if (isCached(sourceOf(found.cell))) await found.marks.question({ type: "recompute", id: found.cell.model.id });
          return run(found.marks, [found.cell]);
        },
      });
      command("invalidate-cell", {
        label: "Invalidate this cell",
        caption: "Remove what is stored; it can be undone for a minute",
        isEnabled: () => chosen() !== null,
        execute: async (args) => {
          const found = chosen(args);
          if (!found || !isCached(sourceOf(found.cell))) return false;
          const { id } = found.cell.model;
          const answer = await found.marks.question({ type: "invalidate", id, source: sourceOf(found.cell) });
          found.marks.ask(0);
          sidebar.undo.hidden = !answer.removed;
          sidebar.refresh();
          return answer.removed;
        },
      });
      command("undo", {
        label: "Undo the last invalidation",
        describedBy: NO_ARGUMENTS,
        isEnabled: () => Boolean(current()?.comm),
        execute: () => sidebar.restore(),
      });
      command("why", {
        label: "Why?",
        caption: "Why this cell ran, or where its result came from",
        icon: icons.why,
        isEnabled: () => chosen() !== null,
        execute: async (args) => {
          const found = chosen(args);
          if (!found) return "";
          const now = found.mark?.reason ? `${found.mark.reason}\n\n` : "";
          const name = found.mark?.name;
          const answer = name ? await found.marks.question({ type: "why", id: found.cell.model.id, name }) : null;
          const text = now + (answer ? answer.text : "A plain cell: it runs each time.");
          void tell(name ? `Why ${name}?` : "Why?", text);
          return text;
        },
      });
      command("show-sidebar", {
        label: "Show the awaitly sidebar",
        describedBy: NO_ARGUMENTS,
        execute: () => {
          app.shell.activateById(panelWidget.id);
          sidebar.refresh();
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
