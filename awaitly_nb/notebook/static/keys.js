// The lower half of the panel: the keys, of which only the rows in sight exist in the page; search, sorting, choosing, and
// the preview of one value.

const ROW = 30; // px: height of a row; the same in panel.css
const PAGE = 9; // rows in sight

const COLUMNS = [
  { id: "key", title: "Key" },
  { id: "step", title: "Step" },
  { id: "size", title: "Size", number: true },
  { id: "took", title: "Took", number: true },
  { id: "at", title: "Age", number: true },
  { id: "hits", title: "Hits", number: true },
];

class KeysTable {
  constructor(store) {
    this.store = store;
    this.query = "";
    this.sort = { column: "at", descending: true };
    this.failedOnly = false;
    this.selected = new Set();
    this.active = 0;
    this.found = [];
    this.whole = false; // whether keys of other notebooks are listed too
    this.unfolded = new Set(); // calls whose superseded rows are shown
    this.build();
  }

  build() {
    this.search = el("input", {
      class: "awn-search", type: "search", placeholder: "Search keys", title: "Words, or a pattern such as fit:*", "aria-label": "Search keys", spellcheck: "false",
      oninput: () => { this.query = this.search.value; this.active = 0; this.body.scrollTop = 0; this.draw(); },
    });
    this.actions = el("div", { class: "awn-actions" });
    this.columns = el("div", { class: "awn-row awn-columns", role: "row", "aria-rowindex": "1" });
    this.lane = el("div", { class: "awn-lane", role: "presentation" });
    this.body = el("div", {
      class: "awn-body", role: "presentation",
      onscroll: () => { this.scrolled = this.body.scrollTop; this.drawLane(); },
      onpointerleave: () => { if (this.hovered) this.draw(); },
    }, this.lane);
    this.grid = el("div", {
      class: "awn-grid", role: "grid", tabindex: "0", "aria-label": "Cached keys", "aria-multiselectable": "true",
      onkeydown: (event) => this.keydown(event),
    }, this.columns, this.body);
    this.detail = el("section", { class: "awn-preview", hidden: true, "aria-label": "Preview" });
    this.title = el("div", { class: "awn-title", role: "heading", "aria-level": "3" });
    this.note = el("p", { class: "awn-note", role: "status", "aria-live": "polite" });
    this.node = el("section", { class: "awn-keys", "aria-label": "Cached keys" },
      el("div", { class: "awn-bar" }, this.title, this.search, this.actions), this.grid, this.detail, this.note);
  }

  draw() {
    const keys = this.store.keys;
    for (const id of this.selected) if (!keys.position.has(id)) this.selected.delete(id);
    if (!keys.failed) this.failedOnly = false;
    const mine = this.whole ? null : this.store.mine;
    this.found = this.steady(keys.find(this.query, this.sort.column, this.sort.descending, this.failedOnly, mine,
      this.query ? null : this.unfolded)); // a search looks through all
    this.others = this.store.mine ? keys.length - keys.countOf(this.store.mine) : 0;
    this.active = Math.max(0, Math.min(this.active, this.found.length - 1));
    this.title.replaceChildren("Keys ", el("span", { class: "awn-count" },
      this.store.keysKnown ? (mine ? keys.length - this.others : keys.length).toLocaleString("en") : "…",
      keys.bytes ? ` · ${size(mine ? keys.bytesOf(mine) : keys.bytes)}` : ""));
    this.columns.replaceChildren(el("span", { role: "columnheader", class: "awn-cell awn-check" },
      el("input", { type: "checkbox", tabindex: "-1", "aria-label": "Select all found keys", onclick: () => this.selectAll() })),
      ...COLUMNS.map((column) => el("span", {
        role: "columnheader", class: `awn-cell awn-${column.id}${column.number ? " awn-num" : ""}`,
        "aria-sort": this.sort.column === column.id ? (this.arrow(column.id) === "↓" ? "descending" : "ascending") : "none",
      }, el("button", { type: "button", class: "awn-sort", onclick: () => this.sortBy(column) },
        column.title, this.sort.column === column.id ? ` ${this.arrow(column.id)}` : ""))),
      el("span", { role: "columnheader", class: "awn-cell awn-do" }, el("span", { class: "awn-sr" }, "Invalidate")));
    this.columns.querySelector("input").checked = this.found.length > 0 && this.selected.size >= this.found.length;
    this.grid.setAttribute("aria-rowcount", this.found.length + 1);
    this.body.style.height = `${Math.max(1, Math.min(this.found.length, PAGE)) * ROW}px`;
    this.lane.style.height = `${Math.max(1, this.found.length) * ROW}px`;
    this.drawLane();
    this.drawActions();
  }

  // While the pointer is over the rows they stay in their places and new keys queue up below: a button must not move away
  // under a finger that is about to press it.
  steady(found) {
    const keys = this.store.keys;
    const asked = JSON.stringify([this.query, this.sort, this.failedOnly, this.whole]);
    this.hovered = asked === this.asked && this.body.matches(":hover");
    this.asked = asked;
    if (this.hovered) {
      const placedRows = this.foundIds.map((id) => keys.position.get(id)).filter((row) => row !== undefined);
      const placed = new Uint8Array(keys.columns.id.length);
      for (const row of placedRows) placed[row] = 1;
      found = placedRows.concat(found.filter((row) => !placed[row]));
    }
    this.foundIds = found.map((row) => keys.columns.id[row]);
    return found;
  }

  arrow(column) {
    // "Age" sorts by the instant: newest first is age ascending.
    return (column === "at") !== this.sort.descending ? "↓" : "↑";
  }

  sortBy(column) {
    const same = this.sort.column === column.id;
    this.sort = { column: column.id, descending: same ? !this.sort.descending : !!column.number };
    this.draw();
  }

  drawLane() {
    const first = Math.max(0, Math.floor(this.body.scrollTop / ROW) - 3);
    const last = Math.min(this.found.length, first + PAGE + 7);
    if (!this.found.length) {
      this.lane.replaceChildren(el("p", { class: "awn-empty" },
        !this.store.keysKnown ? "Reading the keys…" : this.query || this.failedOnly ? "No key matches."
          : this.others && !this.whole ? "Nothing of this notebook is cached yet." : "Nothing is cached yet."));
      return;
    }
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.keyRow(place));
    this.lane.replaceChildren(...rows);
    this.grid.setAttribute("aria-activedescendant", this.rowId(this.active));
  }

  rowId(place) {
    this.serial ??= Math.random().toString(36).slice(2);
    return `awn-${this.serial}-${place}`;
  }

  keyRow(place) {
    const row = this.store.keys.row(this.found[place]);
    const chosen = this.selected.has(row.id);
    const open = this.store.preview?.id === row.id;
    const told = this.store.keys.columns.namespaces.length > 1 && !row.key.startsWith(`${row.namespace}:`) && !row.call;
    const old = this.store.keys.old[this.found[place]];
    const older = old || this.query ? 0 : this.store.keys.older(this.found[place]);
    const call = this.store.keys.versionOf[this.found[place]];
    const cell = (name, content, title) => el("span", {
      role: "gridcell", class: `awn-cell awn-${name}${["size", "took", "at", "hits"].includes(name) ? " awn-num" : ""}`, title,
    }, content);
    return el("div", {
      class: `awn-row${chosen ? " awn-chosen" : ""}${open ? " awn-open" : ""}${place === this.active ? " awn-active" : ""}${row.ok ? "" : " awn-bad"}`,
      role: "row", id: this.rowId(place), "aria-rowindex": place + 2, "aria-selected": chosen ? "true" : "false",
      style: `top:${place * ROW}px`, "data-key": row.key,
      onclick: (event) => { this.active = place; this.clicked(event, row); },
    },
    cell("check", el("input", { type: "checkbox", tabindex: "-1", checked: chosen, "aria-label": `Select ${row.key}` })),
    cell("key", el("span", { class: "awn-keytext" }, row.ok ? "" : el("span", { class: "awn-flag" }, "failed"),
      told ? el("span", { class: "awn-space" }, row.namespace) : "", keyNode(row.call || named(row)),
      older ? el("button", {
        type: "button", class: "awn-older", tabindex: "-1", "aria-expanded": String(this.unfolded.has(call)),
        title: "Superseded results of the same call: of code, globals or files of before",
        onclick: (event) => {
          event.stopPropagation();
          if (!this.unfolded.delete(call)) this.unfolded.add(call);
          this.draw();
        },
      }, `${this.unfolded.has(call) ? "−" : "+"}${older} older`) : old ? el("span", { class: "awn-space" }, "older") : ""),
      told ? `${row.namespace} ${row.key}` : row.key),
    cell("step", row.step), cell("size", size(row.size)), cell("took", row.took < 0 ? "" : duration(row.took)),
    cell("at", row.at > 0 ? agedNode("age", row.at, this.store.now()) : "", row.at > 0 ? new Date(row.at * 1000).toLocaleString() : null),
    cell("hits", row.hits ? String(row.hits) : ""), cell("do", invalidateButton(this.store, row.id, row.key, "-1")));
  }

  clicked(event, row) {
    if (event.target.closest(".awn-check")) this.toggle(row.id);
    else if (event.shiftKey || event.ctrlKey || event.metaKey) this.toggle(row.id);
    else this.open(row);
    this.draw();
  }

  toggle(id) {
    if (!this.selected.delete(id)) this.selected.add(id);
  }

  selectAll() {
    const ids = this.found.map((index) => this.store.keys.columns.id[index]);
    if (ids.every((id) => this.selected.has(id))) this.selected.clear();
    else for (const id of ids) this.selected.add(id);
    this.draw();
  }

  open(row) {
    if (this.store.preview?.id === row.id) this.store.preview = null;
    else {
      this.reveal = true;
      this.store.preview = { id: row.id, key: row.key, loading: true };
      this.store.ask({ op: "preview", id: row.id });
    }
    this.store.draw("preview");
  }

  keydown(event) {
    if (event.target !== this.grid) return;
    const row = this.found.length ? this.store.keys.row(this.found[this.active]) : null;
    const move = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE, Home: -1e9, End: 1e9 }[event.key];
    if (move !== undefined) {
      this.active = Math.max(0, Math.min(this.found.length - 1, this.active + move));
      const top = this.active * ROW;
      if (top < this.body.scrollTop) this.body.scrollTop = top;
      if (top + ROW > this.body.scrollTop + this.body.clientHeight) this.body.scrollTop = top + ROW - this.body.clientHeight;
      this.drawLane();
    } else if (event.key === " " && row) { this.toggle(row.id); this.draw(); }
    else if (event.key === "Enter" && row) { this.open(row); this.draw(); }
    else if ((event.key === "Delete" || event.key === "Backspace") && row) this.drop(this.selected.size ? [...this.selected] : [row.id]);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.selectAll();
    else if (event.key === "Escape") { this.store.preview = null; this.selected.clear(); this.store.draw("all"); }
    else if (event.key === "/") this.search.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  drop(ids) {
    this.store.remove(ids);
    this.selected.clear();
    this.draw();
  }

  drawActions() {
    const keys = this.store.keys;
    const buttons = [];
    const button = (text, name, onclick, extra = "") =>
      el("button", { type: "button", class: `awn-button ${extra}`, "data-do": name, disabled: this.store.gone, onclick }, text);
    if (this.selected.size) {
      buttons.push(button(`Invalidate ${count(this.selected.size, "key")}`, "drop", () => this.drop([...this.selected]), "awn-danger"));
    }
    if (this.others) {
      const choice = (text, whole) => el("button", {
        type: "button", class: `awn-button${this.whole === whole ? " awn-on" : ""}`, "data-do": whole ? "whole" : "mine",
        "aria-pressed": String(this.whole === whole), onclick: () => { this.whole = whole; this.selected.clear(); this.draw(); },
      }, text);
      buttons.push(choice("This notebook", false), choice(`Whole folder (${keys.length.toLocaleString("en")})`, true));
    }
    if (keys.failed) {
      buttons.push(el("button", {
        type: "button", class: `awn-button${this.failedOnly ? " awn-on" : ""}`, "data-do": "failed", "aria-pressed": String(this.failedOnly),
        onclick: () => { this.failedOnly = !this.failedOnly; this.draw(); },
      }, `Show ${keys.failed.toLocaleString("en")} failed`));
      buttons.push(button("Retry failed", "retry", () => { this.store.ask({ op: "retry" }); }));
    }
    buttons.push(el("button", {
      type: "button", class: "awn-button awn-round", "data-do": "refresh", "aria-label": "Read the keys again", title: "Read the keys again",
      disabled: this.store.gone, onclick: () => this.store.ask({ op: "refresh" }),
    }, icon("M12 6.2A4.4 4.4 0 1 0 12.3 9M12.2 3.6v2.8H9.4")));
    const focused = this.actions.contains(document.activeElement) ? document.activeElement.dataset.do : null;
    this.actions.replaceChildren(...buttons);
    if (focused) (this.actions.querySelector(`[data-do="${focused}"]`) || this.grid).focus({ preventScroll: true });
    const note = this.query || this.failedOnly
      ? `${count(this.found.length, "key")} of ${keys.length.toLocaleString("en")}` : "";
    const told = this.store.undoable > Date.now() ? "" : this.store.note; // else it stands beside "Undo"
    this.note.textContent = [told, note].filter(Boolean).join(" · ");
  }

  drawPreview() {
    const shown = this.store.preview;
    this.detail.hidden = !shown;
    if (!shown) return;
    const close = el("button", {
      type: "button", class: "awn-button awn-round", "aria-label": "Close the preview",
      onclick: () => { this.store.preview = null; this.store.draw("all"); this.grid.focus(); },
    }, icon("M5 5l6 6M11 5l-6 6"));
    const facts = (shown.facts || []).map((fact) => el("span", { class: "awn-tag" }, fact));
    const content = shown.loading
      ? el("p", { class: "awn-empty" }, this.store.gone ? "The kernel is gone." : this.store.busy ? "Waiting for the kernel…" : "Loading…")
      : previewNode(shown);
    this.detail.replaceChildren(
      el("div", { class: "awn-previewhead" }, el("code", {}, shown.key), ...facts, close), el("div", { class: "awn-previewbody" }, content));
    // Whoever opened it wants to see it; what comes later does not move the page again.
    if (this.reveal) this.detail.scrollIntoView({ block: "nearest" });
    this.reveal &&= !!shown.loading;
  }
}

// A value in a few lines: a table, text, a picture, or of a cell each variable and what it showed.
function previewNode(shown) {
  if (shown.parts) {
    return el("div", { class: "awn-parts" }, ...shown.parts.map((part) => el("section", { class: "awn-part", "data-part": part.name },
      el("div", { class: "awn-parthead" }, el("b", {}, part.name), ...(part.facts || []).map((fact) => el("span", { class: "awn-tag" }, fact))),
      previewNode(part))));
  }
  if (shown.table) {
    return el("table", { class: "awn-data" },
      el("thead", {}, el("tr", {}, ...shown.table.columns.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...shown.table.rows.map((cells) => el("tr", {}, ...cells.map((text) => el("td", {}, text))))));
  }
  // A picture is data that the kernel encoded: an address of any other kind is not followed.
  if (/^data:image\/(png|jpeg|svg\+xml);base64,[A-Za-z0-9+/=]*$/.test(shown.image || "")) {
    return el("img", { class: "awn-thumb", src: shown.image, alt: (shown.facts || []).join(", ") });
  }
  return shown.text ? el("pre", { class: "awn-text" }, shown.text) : "";
}

// An automatic key says the name of its step, which in automatic mode it does not begin with.
const named = ({ key, step }) => (step ? key.replace(/^.*(:[0-9a-f]{10}…)$/, (_, digits) => step + digits) : key);
