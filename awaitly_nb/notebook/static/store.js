// What one widget model knows, in the order of the kernel's messages; every place where the panel is shown draws from it.

const UNDO_MS = 60_000; // as long as the kernel holds what was removed
const MUCH_S = 10; // seconds of work that are not removed by one click

class Store {
  constructor(model) {
    this.model = model;
    this.views = new Set();
    this.sections = [];
    this.keys = new Keys();
    this.keysKnown = false;
    this.gone = null; // or how the kernel went: "gone", "restarted"
    this.heard = false; // whether the kernel has answered this page
    this.busy = false;
    this.asked = new Set(); // ids of keys whose deletion was asked for and not yet answered
    this.preview = null;
    this.whys = new Map(); // by row of a step: what its key had new, as far as it was asked for
    this.note = "";
    this.mine = null; // namespaces of this notebook, where the panel is of a whole folder
    this.question = null; // what is to be confirmed: ids, and the seconds of work in them
    this.undoable = 0; // until when the last removal can be undone, by the page's clock
    this.seq = 0; // number of the last message
    this.missed = false; // whether one did not arrive: the page was loaded again
    this.skew = 0; // kernel clock minus page clock, seconds
    this.queue = Promise.resolve(); // messages are taken in order, although unpacking one is asynchronous
    this.take(model.get("boot") || {});
    model.on("msg:custom", (message, buffers) => {
      this.queue = this.queue.then(() => this.take(message, buffers)).catch((error) => console.error("awaitly", error));
    });
    model.on("comm_live_update", () => this.watchKernel());
    setTimeout(() => { this.late = true; if (!this.heard) this.draw("all"); }, 1500);
  }

  now() {
    return Date.now() / 1000 + this.skew;
  }

  async watchKernel() {
    // The proxy that anywidget gives does not show whether the comm lives, the model behind it does.
    const real = await this.real();
    if (real && real.comm_live === true) return;
    this.setGone();
  }

  async real() {
    try {
      return await this.model.widget_manager.get_model(this.model.get("model_ref"));
    } catch {
      return null;
    }
  }

  async followKernelStatus() {
    // Where the front end shows us its kernel connection (JupyterLab does), "busy" and "shut down" are told as well.
    const kernel = (await this.real())?.widget_manager?.kernel;
    if (!kernel?.statusChanged?.connect) return;
    const follow = (_, status) => {
      if (status === "dead" || status === "terminating") this.setGone();
      // A restart is what a person asked for, unless it turns out that the server began it, because the kernel had died.
      if (status === "restarting") this.setGone("restarted");
      if (status === "autorestarting") {
        this.gone = null;
        this.setGone();
      }
      this.busy = status === "busy";
      this.draw(this.heard ? "actions" : "all");
    };
    kernel.statusChanged.connect(follow);
    kernel.disposed?.connect(() => this.setGone());
    this.busy = kernel.status === "busy";
    this.unfollow = () => kernel.statusChanged.disconnect(follow);
  }

  setGone(how = "gone") {
    if (this.gone) return;
    this.gone = how;
    this.question = null;
    this.asked.clear();
    this.draw("all");
  }

  async take(message, buffers) {
    if (message.seq) {
      this.missed ||= message.seq !== this.seq + 1;
      this.seq = message.seq;
    }
    if (message.seq || message.upto !== undefined) this.hear();
    if (message.upto !== undefined && (this.missed || message.upto !== this.seq)) this.ask({ op: "again" });
    if (message.now) this.skew = message.now - Date.now() / 1000;
    if (message.order) {
      const known = new Map(this.sections.map((section) => [section.id, section]));
      for (const change of message.sections || []) {
        const old = known.get(change.id);
        const steps = old ? old.steps.slice(0, change.n) : [];
        for (const [index, row] of change.rows) steps[index] = row;
        // A page that was loaded meanwhile does not know the rows that did not change; it has asked for all, or will.
        if (steps.length === change.n && !steps.includes(undefined)) known.set(change.id, { ...change, steps });
        else this.missed = true;
      }
      this.sections = message.order.map((id) => known.get(id)).filter(Boolean);
      this.draw("steps");
    }
    if (message.kind === "keys") {
      this.keys.load(await unpack(buffers));
      this.keysKnown = true;
      this.missed = false;
      this.asked.clear();
      this.draw("keys");
    }
    if (message.hits) {
      this.keys.count(message.hits);
      this.draw("keys");
    }
    if (message.removed || message.added) {
      this.keys.change(message.removed || [], message.added || []);
      for (const id of message.removed || []) this.asked.delete(id);
      if (this.preview && (message.removed || []).includes(this.preview.id)) this.preview = null;
      this.draw("keys");
    }
    if (message.mine) {
      this.mine = new Set(message.mine);
      this.draw("keys");
    }
    if (message.undo !== undefined) this.undoable = message.undo ? Date.now() + UNDO_MS : 0;
    if (message.preview) {
      if (this.preview && this.preview.id === message.preview.id) this.preview = message.preview;
      this.draw("preview");
    }
    if (message.why) {
      this.whys.set(message.why.row, message.why.changes);
      this.draw("steps");
    }
    if (message.note) {
      this.say(message.note);
      // It was news; what can be undone stays as long as it can.
      setTimeout(() => { if (this.note === message.note) this.say(""); }, this.undoable ? UNDO_MS : 10_000);
    }
    if (message.settled) {
      for (const id of message.settled) this.asked.delete(id);
      this.draw("keys");
    }
  }

  // The page was made, or loaded again, while the kernel has no time for it: what is drawn may be long past.
  unheard() {
    return this.late && !this.heard && this.busy && !this.gone;
  }

  hear() {
    if (this.heard) return;
    this.heard = true;
    this.draw("all");
  }

  say(text) {
    this.note = text;
    this.draw("actions");
  }

  ask(message) {
    if (!this.gone) this.model.send(message);
  }

  // What a step's key had new is asked for when somebody wants to see it; true while the answer is under way.
  asksWhy(step) {
    const reason = whyOf(step).reason;
    const served = step.state === "hit" || step.state === "replayed"; // nothing was computed
    if (!step.key || !reason || served || this.gone) return false;
    if (this.whys.has(step.row)) return this.whys.get(step.row) === null;
    this.whys.set(step.row, null);
    this.ask({ op: "why", row: step.row, of: [step.workflow, step.step, step.key, reason] });
    return true;
  }

  // Much work is asked for first; the rest can be undone for a minute.
  remove(ids, confirmed = false) {
    if (this.gone || !ids.length) return;
    const seconds = ids.reduce((sum, id) => sum + this.keys.seconds(id), 0);
    if (!confirmed && seconds > MUCH_S) {
      this.question = { ids, seconds };
      this.draw("question");
      return;
    }
    this.question = null;
    this.undoable = 0;
    for (const id of ids) this.asked.add(id);
    this.ask({ op: "delete", ids });
    this.say(this.busy ? "The kernel is busy; this is done as soon as it listens." : "");
    this.draw("keys");
  }

  cancel() {
    this.question = null;
    this.draw("question");
  }

  undo() {
    this.undoable = 0;
    this.ask({ op: "undo" });
    this.say("");
  }

  draw(what) {
    for (const view of this.views) view.draw(what);
  }
}
