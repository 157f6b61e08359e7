// The keys as they come from the kernel (see panel_keys.py), and as the page keeps them: column by column. A row keeps its
// place for good, so that changing one key costs as little with 100,000 of them as with ten.

async function inflate(buffer) {
  const bytes = new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream("deflate")));
  return new Uint8Array(await bytes.arrayBuffer());
}

async function unpack(buffers) {
  const [text, bytes] = await Promise.all(buffers.map(inflate));
  const key = new TextDecoder().decode(text).split("\x1e");
  const { rows, namespaces, steps, calls, bytes: total } = JSON.parse(key.shift());
  const call = calls ? key.splice(-rows) : Array(rows).fill(""); // the calls of automatic keys stand behind all keys
  key.length = rows; // no key at all is one empty text
  let from = 0;
  const words = () => {
    const column = new Int32Array(rows);
    for (let plane = 0; plane < 4; plane++, from += rows) {
      for (let row = 0; row < rows; row++) column[row] |= bytes[from + row] << (8 * plane);
    }
    return column;
  };
  const summed = () => {
    const column = words();
    for (let row = 1; row < rows; row++) column[row] += column[row - 1];
    return column;
  };
  const floats = () => new Float32Array(words().buffer);
  const columns = { id: summed(), at: summed(), namespace: words(), step: words(), hits: words(), size: floats(), took: floats() };
  // Rows are added later, so they end as plain arrays.
  for (const [name, column] of Object.entries(columns)) columns[name] = Array.from(column);
  columns.namespace = columns.namespace.map((place) => namespaces[place]);
  columns.step = columns.step.map((place) => steps[place]);
  return { ...columns, key, call, ok: Array.from(bytes.subarray(from)), namespaces, total };
}

class Keys {
  constructor() {
    this.load({ namespaces: [], total: 0, key: [], call: [], id: [], at: [], namespace: [], step: [], hits: [], size: [], took: [], ok: [] });
  }

  load(columns) {
    this.columns = columns;
    this.position = new Map(columns.id.map((id, row) => [id, row])); // of the keys that are there
    this.there = columns.id.map(() => true);
    this.text = columns.key.map((_, row) => this.words(row));
    this.bytes = columns.total;
    this.failed = columns.ok.reduce((sum, ok) => sum + (ok ? 0 : 1), 0);
    this.orders = new Map();
    this.versionOf = columns.id.map((_, row) => this.callOf(row));
    this.versions = new Map(); // of each call and cell, the rows that answer it, in the order of their storing
    this.old = columns.id.map(() => false); // whether a newer row answers the same call
    this.versionOf.forEach((call, row) => { if (call !== null) this.addVersion(call, row); });
    for (const call of this.versions.keys()) this.settle(call);
  }

  // Which call a row under an automatic key answers, whatever the code was; an explicit key is its own.
  callOf(row) {
    const c = this.columns;
    return c.key[row].endsWith("…") ? `${c.namespace[row]}\x1e${c.step[row]}\x1e${c.call[row]}` : null;
  }

  addVersion(call, row) {
    if (!this.versions.has(call)) this.versions.set(call, []);
    this.versions.get(call).push(row);
  }

  // Find the newest of the rows that answer one call.
  settle(call) {
    const rows = this.versions.get(call) || [];
    let newest = null;
    for (const row of rows) if (this.there[row] && (newest === null || this.columns.at[row] >= this.columns.at[newest])) newest = row;
    for (const row of rows) this.old[row] = row !== newest;
  }

  // How many rows a row has superseded.
  older(row) {
    return (this.versions.get(this.versionOf[row]) || []).filter((other) => other !== row && this.there[other]).length;
  }

  // What a search looks through.
  words(row) {
    const c = this.columns;
    return `${c.namespace[row]} ${c.key[row]} ${c.step[row]} ${c.call[row]}`.toLowerCase();
  }

  get length() {
    return this.position.size;
  }

  countOf(spaces) {
    let n = 0;
    for (const row of this.position.values()) if (spaces.has(this.columns.namespace[row])) n++;
    return n;
  }

  bytesOf(spaces) {
    let sum = 0;
    for (const row of this.position.values()) if (spaces.has(this.columns.namespace[row])) sum += Math.max(this.columns.size[row], 0);
    return sum;
  }

  row(row) {
    const c = this.columns;
    return {
      id: c.id[row], namespace: c.namespace[row], key: c.key[row], call: c.call[row].replace(/ #[0-9a-f]*$/, ""), step: c.step[row], ok: !!c.ok[row],
      size: c.size[row], took: c.took[row], at: c.at[row], hits: c.hits[row],
    };
  }

  change(removed, added) {
    for (const id of removed) this.drop(id);
    for (const key of added) this.put(key);
  }

  // Hits are counted in the kernel, and told when a run has ended.
  count(hits) {
    for (const [id, n] of hits) if (this.position.has(id)) this.columns.hits[this.position.get(id)] = n;
    this.orders.delete("hits");
  }

  // Seconds that computing one key took, as far as is known.
  seconds(id) {
    const row = this.position.get(id);
    return row === undefined ? 0 : Math.max(this.columns.took[row], 0);
  }

  drop(id) {
    const row = this.position.get(id);
    if (row === undefined) return;
    this.position.delete(id);
    this.there[row] = false;
    this.settle(this.versionOf[row]);
    this.failed -= this.columns.ok[row] ? 0 : 1;
    this.bytes -= Math.max(this.columns.size[row], 0);
  }

  put(key) {
    const c = this.columns;
    const row = this.position.get(key.id) ?? c.id.length;
    this.drop(key.id);
    if (row < c.id.length) for (const order of this.orders.values()) order.splice(order.indexOf(row), 1);
    for (const name of Object.keys(key)) c[name][row] = key[name];
    if (!c.namespaces.includes(key.namespace)) c.namespaces.push(key.namespace);
    this.text[row] = this.words(row);
    if (row === this.versionOf.length && (this.versionOf[row] = this.callOf(row)) !== null) this.addVersion(this.versionOf[row], row);
    this.position.set(key.id, row);
    this.there[row] = true;
    this.settle(this.versionOf[row]);
    this.failed += key.ok ? 0 : 1;
    this.bytes += Math.max(key.size, 0);
    for (const [column, order] of this.orders) order.splice(this.place(order, c[column], row), 0, row);
  }

  order(column) {
    if (!this.orders.has(column)) {
      const values = this.columns[column];
      this.orders.set(column, values.map((_, row) => row).sort((a, b) => compare(values, a, b)));
    }
    return this.orders.get(column);
  }

  // Where a row belongs in an order: found by halving.
  place(order, values, row) {
    let [low, high] = [0, order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(values, order[middle], row) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  find(query, column, descending, failedOnly, mine = null, unfolded = null) {
    const { text, there, columns } = this;
    const glob = /[*?]/.test(query) ? globOf(query.trim()) : null;
    const words = query.toLowerCase().split(/\s+/).filter(Boolean).map(shortKey); // keys come cut
    const matches = glob ? (row) => glob.test(columns.key[row]) || glob.test(columns.call[row].replace(/ #[0-9a-f]*$/, "")) : (row) => words.every((word) => text[row].includes(word));
    const found = this.order(column).filter((row) => there[row] && !(failedOnly && columns.ok[row])
      && (!mine || mine.has(columns.namespace[row])) && matches(row)
      && (!unfolded || !this.old[row] || unfolded.has(this.versionOf[row])));
    return descending ? found.reverse() : found;
  }
}

// A glob as `%awaitly rm` takes it: `*`, `?` and `[...]`, over the whole key, and case counts.
function globOf(query) {
  const source = query.replace(/\[(!?)([^\]]+)\]|[\s\S]/g, (text, not, set) => {
    if (set) return `[${not ? "^" : ""}${set.replace(/[\\^[]/g, "\\$&")}]`;
    return { "*": "[^]*", "?": "[^]" }[text] ?? text.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
  });
  try {
    return new RegExp(`^${source}$`, "u");
  } catch {
    return /(?!)/; // a set that means nothing, as "[z-a]", matches nothing
  }
}

function compare(values, a, b) {
  return values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : a - b;
}
