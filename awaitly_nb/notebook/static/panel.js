// A view of the panel, and the life of the widget.
//
// A view is drawn by the widget itself, or into the static HTML that replaces the widget when a run ends: that HTML is
// all that a saved notebook keeps, and while the page lives it is brought to life again here ("mounting").

const GONE = {
  gone: "Kernel gone. What was finished is stored: run the notebook again and it resumes.",
  restarted: "Kernel restarted. What was finished is stored: run again to resume.",
};

class View {
  constructor(store) {
    this.store = store;
    this.steps = new Steps(store, {
      // Out of the page, while its HTML is replaced, nothing has the focus; what had it is given it back by `settle`.
      get: () => (this.root?.isConnected ? document.activeElement : this.focused) || null,
      set: (node) => { this.focused = node; node.focus({ preventScroll: true }); },
    });
    this.keys = new KeysTable(store);
    this.banner = el("div", { class: "awn-gone", role: "alert", hidden: true });
    this.bar = el("div", { class: "awn-toast", hidden: true });
    this.root = el("div", { class: "awn-panel" },
      this.banner, this.steps.head, this.steps.node, this.keys.node, this.bar);
    store.views.add(this);
    this.draw("all");
    this.root.addEventListener("focusin", (event) => {
      this.focused = event.target;
      // JupyterLab's shortcuts apply to whatever has the focus in a notebook: "d d" would delete the cell.
      event.target.setAttribute("data-lm-suppress-shortcuts", "true");
    });
    this.root.addEventListener("focusout", () => setTimeout(() => {
      // Only a person who left: when the HTML around us is replaced, we are out of the page for a moment.
      if (this.root.isConnected && !this.root.contains(document.activeElement)) this.focused = null;
    }));
    this.clock = setInterval(() => this.root.isConnected && this.steps.tick(), 200);
    this.ages = setInterval(() => this.root.isConnected && tellAges(this.root, this.store.now()), 10_000);
    this.resized = new ResizeObserver(() => this.align());
    this.resized.observe(this.root);
  }

  dispose() {
    clearInterval(this.clock);
    clearInterval(this.ages);
    this.resized.disconnect();
    this.store.views.delete(this);
    this.root.remove();
  }

  // Leaving the page and coming back costs scroll position and focus, which the browser does not restore.
  settle() {
    this.keys.body.scrollTop = this.keys.scrolled || 0;
    // A pointer that left meanwhile was not seen to leave.
    requestAnimationFrame(() => { if (this.keys.hovered) this.keys.draw(); });
    if (this.focused?.isConnected && document.activeElement.contains(this.root)) this.focused.focus({ preventScroll: true });
  }

  draw(what) {
    const all = what === "all";
    this.root.classList.toggle("awn-is-gone", this.store.gone);
    this.drawBanner();
    if (all || what === "steps" || what === "keys") this.steps.draw();
    if (all || what === "keys") this.keys.draw();
    if (all || what === "keys" || what === "preview") this.keys.drawPreview();
    if (all || what === "actions") this.keys.drawActions();
    this.drawBar(what === "question");
    tellAges(this.root, this.store.now()); // all at once, or rows contradict each other
    this.align();
  }

  // What is asked before much work is removed, or what was removed with a way back; in sight wherever one clicked.
  drawBar(opened) {
    const { question, undoable, note } = this.store;
    const button = (text, name, onclick, kind = "") => el("button", { type: "button", class: `awn-button ${kind}`, "data-do": name, onclick }, text);
    const undo = !question && !this.store.gone && undoable > Date.now() && note; // a restarted kernel holds nothing
    const shown = JSON.stringify(question ? question : undo ? note : "");
    if (shown === this.shown) return;
    this.shown = shown;
    this.bar.hidden = !question && !undo;
    this.bar.setAttribute("role", question ? "alertdialog" : "group");
    if (question) {
      const what = question.ids.length === 1 ? "this key" : count(question.ids.length, "key");
      const cancel = button("Cancel", "cancel", () => this.store.cancel());
      this.bar.setAttribute("aria-label", `Invalidate ${what}?`);
      this.bar.replaceChildren(el("span", {}, `Invalidate ${what}? Computing ${question.ids.length === 1 ? "it" : "them"} took ${duration(question.seconds)}.`),
        button("Invalidate", "confirm", () => this.store.remove(question.ids, true), "awn-danger"), cancel);
      this.bar.onkeydown = (event) => { if (event.key === "Escape") { this.store.cancel(); event.stopPropagation(); } };
      if (opened) cancel.focus({ preventScroll: true });
    } else if (undo) {
      this.bar.setAttribute("aria-label", "Undo");
      this.bar.replaceChildren(el("span", { role: "status" }, note), button("Undo", "undo", () => this.store.undo()));
    }
  }

  drawBanner() {
    const told = this.store.unheard() ? "The kernel is busy; the panel returns when it answers." : GONE[this.store.gone] || "";
    this.banner.hidden = !told;
    this.banner.classList.toggle("awn-quiet", this.store.gone !== "gone");
    if (this.banner.textContent !== told) this.banner.replaceChildren(icon("M8 3.2v5.4M8 11.4v.6"), told); // an alert is read aloud once
  }

  // The buttons of both tables are below each other, whichever of them has a scroll bar.
  align() {
    const nodes = [this.steps.node, this.keys.body];
    const bars = nodes.map((node) => node.offsetWidth - node.clientWidth);
    const widest = Math.max(...bars);
    nodes.forEach((node, index) => node.style.setProperty("--awn-room", `${widest - bars[index]}px`));
    this.keys.columns.style.setProperty("--awn-room", `${widest}px`);
  }
}

// ---- life of the widget -------------------------------------------------------------------------------------------

const stores = new Map(); // by token: the widget system hands out several proxies of one model

function initialize({ model }) {
  const token = model.get("token");
  const store = new Store(model);
  stores.set(token, store);
  const mounted = new Map();
  const scan = () => {
    const left = [...mounted].filter(([place]) => !place.isConnected);
    for (const [place] of left) mounted.delete(place);
    for (const place of document.getElementsByClassName(`awn-at-${token}`)) {
      if (mounted.has(place)) continue;
      // New HTML took the place of the old: the view moves over, with what was typed, chosen and scrolled to.
      const view = left.length ? left.pop()[1] : new View(store);
      mounted.set(place, view);
      place.classList.add("awn-mounted");
      place.prepend(view.root);
      view.settle();
    }
    for (const [, view] of left) view.dispose();
  };
  const observer = new MutationObserver(scan);
  observer.observe(document.body, { childList: true, subtree: true });
  scan();
  store.followKernelStatus().catch(() => {});
  // In JupyterLab all outputs share one document; in other front ends each may be a frame of its own, and nothing can be mounted.
  const mounts = !!document.querySelector(".jp-OutputArea, .jp-Notebook");
  setTimeout(() => store.ask({ op: "hello", mounts }), 300);
  return () => {
    observer.disconnect();
    store.unfollow?.();
    stores.delete(token);
    for (const [place, view] of mounted) { place.classList.remove("awn-mounted"); view.dispose(); }
  };
}

function render({ model, el: host }) {
  const view = new View(stores.get(model.get("token")));
  host.append(view.root);
  return () => view.dispose();
}

export default { initialize, render };
