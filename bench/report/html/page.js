(() => {
  "use strict";
  const find = (selector, inside = document) => inside.querySelector(selector);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // Charts: drawn when they come near, again where the width has changed. Facets stand below each other on a phone.
  const AXES = 90; // pixels beside a facet's plot
  function fitted(spec, width) {
    if (spec.hconcat && width < 720) {
      const { hconcat, ...rest } = spec;
      return { ...rest, vconcat: hconcat.map((part) => fitted(part, width)) };
    }
    if (spec.concat && width < 720) return { ...spec, columns: 1, concat: spec.concat.map((part) => fitted(part, width)) };
    if (spec.facet && spec.spec) {
      const inner = fitted(spec.spec, width);
      const wide = typeof inner.width === "number" ? inner.width + AXES : 300;
      return spec.columns ? { ...spec, columns: Math.max(1, Math.min(spec.columns, Math.floor(width / wide))), spec: inner } : { ...spec, spec: inner };
    }
    return typeof spec.width === "number" && spec.width > width - AXES ? { ...spec, width: Math.max(180, width - AXES) } : spec;
  }
  async function draw(figure) {
    const canvas = find(".canvas", figure), width = canvas.clientWidth;
    if (Math.abs((figure.drawnAt || 0) - width) < 24) return;
    figure.drawnAt = width;
    const spec = fitted(JSON.parse(find("#" + CSS.escape(figure.dataset.spec)).textContent), width);
    const place = make("div", { className: "drawn" });
    place.style.width = "100%";
    const picture = find("img", canvas);
    canvas.append(place);
    if (picture) picture.hidden = true;
    try {
      const { view } = await vegaEmbed(place, spec, { actions: false, renderer: "svg", tooltip: { disableDefaultStyle: true } });
      all(".drawn", canvas).forEach((old) => old !== place && old.remove());
      view.addEventListener("click", (event, item) => item && item.datum && item.datum.cell && openNamed(String(item.datum.cell), item.datum.run));
    } catch (error) {
      place.remove();
      if (picture) picture.hidden = false;
      console.error(error);
    }
  }
  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target));
  }, { rootMargin: "400px" });
  all("figure[data-spec]").forEach((figure) => seen.observe(figure));
  all(".live").forEach((hint) => (hint.hidden = false));
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => all("figure[data-spec]").filter((figure) => figure.drawnAt).forEach(draw), 200);
  });

  // Tables: where there are many lines, a button in each header sorts, and a filter finds.
  const SORTABLE = 9;
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const sorter = (key, down) => (a, b) => {
    const [x, y] = [key(a), key(b)];
    return x === null || y === null ? compare(x, y) : (down ? -1 : 1) * compare(x, y);
  };
  function sortButtons(table, sort) {
    const headers = all("thead th", table);
    headers.forEach((header, column) => {
      const button = make("button", { type: "button" }, ...header.childNodes);
      button.addEventListener("click", () => {
        const down = header.getAttribute("aria-sort") === "ascending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", down ? "descending" : "ascending");
        table.dataset.sorted = "";
        sort(column, down);
      });
      header.append(button);
    });
  }
  const valueOf = (cell) => (cell.dataset.v !== undefined ? Number(cell.dataset.v) : cell.textContent === "-" ? null : cell.textContent);
  const matches = (text, words) => words.every((word) => text.includes(word));
  const wordsOf = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);
  all("main > section:not(#cells) table.data").forEach((table) => {
    const body = find("tbody", table);
    if (body.rows.length < SORTABLE) return;
    sortButtons(table, (column, down) => {
      body.append(...[...body.rows].sort(sorter((line) => valueOf(line.cells[column]), down)));
    });
    if (!("filter" in table.dataset)) return;
    const input = make("input", { type: "search", placeholder: "Filter lines", ariaLabel: "Filter: " + table.caption.textContent });
    const said = make("span", { className: "note", role: "status" });
    input.addEventListener("input", () => {
      const words = wordsOf(input), lines = [...body.rows];
      lines.forEach((line) => (line.hidden = !matches(line.textContent.toLowerCase(), words)));
      table.toggleAttribute("data-sorted", words.length > 0);
      said.textContent = words.length ? lines.filter((line) => !line.hidden).length + " of " + lines.length + " lines" : "";
    });
    table.caption.append(make("span", { className: "tools" }, input, said));
  });

  // Cells: unpacked when they are needed.
  if (!find("#index")) return;
  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(find("#" + id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }
  const PAGE = 50, BLOCK = Number(find("#index").dataset.block);
  const time = (s) => (s === null ? "-" : s < 0.9995 ? (1000 * s).toPrecision(3).replace(/\.$/, "") + " ms" : s.toPrecision(s < 1000 ? 3 : 6) + " s");
  const value = (x) => (x === null ? "-" : typeof x === "string" ? x : Number(x.toPrecision(4)).toString());
  const SHOWN = {
    instance: [(c) => c.network + (c.image === null ? "" : ", image " + c.image)],
    epsilon: [(c) => c.epsilon, "n"],
    method: [(c) => c.setup],
    outcome: [(c) => c.outcome],
    time: [(c) => c.seconds, "n", time],
    "lower bound": [(c) => c.lower, "n", value],
    "upper bound": [(c) => c.upper, "n", value],
    run: [(c) => c.run],
  };
  const FILTERS = ["run", "network", "epsilon", "method", "solver", "outcome"];
  let cells = [], chosen = [], page = 0;

  const lineOf = (cell) => make("tr", {}, ...columns.map(([name, [key, kind, write]], index) => {
    const text = write ? write(key(cell)) : String(key(cell));
    if (index === 0) {
      const button = make("button", { type: "button", className: "link", textContent: text });
      button.addEventListener("click", () => open(cell));
      return make("th", { scope: "row" }, button);
    }
    const style = name === "outcome" ? "outcome " + cell.outcome : kind || "";
    return make("td", { className: style, textContent: text, title: name === "outcome" ? cell.reason || "" : "" });
  }));
  let columns = [];
  function show() {
    const last = Math.max(0, Math.ceil(chosen.length / PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    find("table.cells tbody").replaceChildren(...chosen.slice(page * PAGE, (page + 1) * PAGE).map(lineOf));
    find("#count").textContent = chosen.length.toLocaleString("en") + " of " + cells.length.toLocaleString("en") + " cells";
    find("#pager").hidden = !last;
    find("#pager span").textContent = "page " + (page + 1) + " of " + (last + 1);
    find("#before").disabled = !page;
    find("#next").disabled = page === last;
  }
  function filter() {
    const form = find("#filters"), words = wordsOf(form.elements.words);
    const asked = FILTERS.map((name) => [name, form.elements[name] && form.elements[name].value]).filter(([, wanted]) => wanted);
    chosen = cells.filter((cell) => asked.every(([name, wanted]) => String(cell[name]) === wanted) && matches(cell.text, words));
    page = 0;
    show();
  }
  function offerFilters() {
    const form = find("#filters");
    for (const name of FILTERS) {
      const values = [...new Set(cells.map((cell) => cell[name]).filter((each) => each !== null && each !== undefined))].sort(compare);
      if (values.length < 2) continue;
      const options = [new Option("all", ""), ...values.map((each) => new Option(each, each))];
      form.append(make("label", {}, name, make("select", { name }, ...options)));
    }
    const input = make("input", { type: "search", name: "words", placeholder: "words of a line, or a cell's digest" });
    form.append(make("label", { className: "search" }, "search", input));
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
  }
  async function start() {
    const index = await unpacked("index");
    cells = index.lines.map((line, position) => {
      const cell = Object.fromEntries(index.columns.map((name, column) => [name, line[column]]));
      return Object.assign(cell, { position, text: line.filter((each) => each !== null).join(" ").toLowerCase() });
    });
    const first = ["contradicted", "failed", "unknown"], rank = (cell) => (first.indexOf(cell.outcome) + 1 || 4);
    chosen = cells.sort((a, b) => rank(a) - rank(b));
    columns = Object.entries(SHOWN).filter(([, [key]]) => key(cells[0] || {}) !== undefined);
    const table = find("table.cells");
    find("thead tr", table).append(...columns.map(([name, [, kind]]) => make("th", { scope: "col", className: kind || "" }, name)));
    sortButtons(table, (column, down) => {
      cells.sort(sorter(columns[column][1][0], down));
      filter();
    });
    offerFilters();
    find("#before").addEventListener("click", () => { page -= 1; show(); });
    find("#next").addEventListener("click", () => { page += 1; show(); });
    table.hidden = false;
    show();
    addEventListener("hashchange", opened);
    opened();
  }

  // One cell: its row, its log and the command that asks it again.
  const opened = () => location.hash.startsWith("#cell=") && openNamed(...decodeURIComponent(location.hash.slice(6)).split("@"));
  async function openNamed(name, run) {
    await ready;
    const named = cells.filter((each) => name.startsWith(each.cell) || each.cell.startsWith(name));
    const cell = named.find((each) => each.run === run) || named[0];
    if (cell) return open(cell);
    find("#cell-h").textContent = "Cell " + name;
    find("#cell-body").replaceChildren(make("p", { textContent: "There was no room for this cell here: rows.csv has its row." }));
    if (!find("#cell").open) find("#cell").showModal();
  }
  const titled = (title, ...children) => [make("h3", { textContent: title }), ...children];
  const ready = start().catch((error) => {
    find("#count").textContent = "This browser cannot unpack the cells (" + error.message + "); rows.csv has them.";
  });
  async function open(cell) {
    const found = (await unpacked("block-" + Math.floor(cell.position / BLOCK)))[cell.position % BLOCK];
    find("#cell-h").textContent = SHOWN.instance[0](cell) + ", epsilon " + cell.epsilon + ": " + cell.setup;
    find("#cell-body").replaceChildren(facts(found.row, cell), ...again(found), ...targets(found.row), ...log(found), ...whole(found.row));
    if (!find("#cell").open) find("#cell").showModal();
    find("#cell").scrollTop = 0;
    history.replaceState(null, "", "#cell=" + encodeURIComponent(cell.cell + (cell.run ? "@" + cell.run : "")));
  }
  find("#cell").addEventListener("close", () => history.replaceState(null, "", "#cells"));
  find("#cell").addEventListener("click", (event) => event.target === find("#cell") && find("#cell").close());
  function facts(row, cell) {
    const times = ["bounds_s", "build_s", "solve_s", "total_s"].filter((name) => row[name] !== null);
    const said = {
      outcome: cell.outcome + (row.reason ? ": " + row.reason : ""), evidence: row.evidence, error: row.error,
      "error rate": row.error_rate === null ? null : value(row.error_rate) + " of " + row.images + " images",
      solver: row.solver && row.solver + " " + row.solver_version, time: times.map((name) => name.slice(0, -2) + " " + time(row[name])).join(", "),
      run: cell.run, cell: row.cell, started: row.started,
    };
    const known = Object.entries(said).filter(([, text]) => text);
    return make("dl", {}, ...known.flatMap(([name, text]) => [make("dt", { textContent: name }), make("dd", { textContent: text })]));
  }
  function again(found) {
    const copy = make("button", { type: "button", className: "plain", textContent: "Copy" });
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(found.command);
      copy.textContent = "Copied";
    });
    const notes = found.notes.map((note) => make("p", { className: "note", textContent: note }));
    return titled("Ask it again", make("pre", { className: "command", tabIndex: 0, textContent: found.command }), ...(navigator.clipboard ? [copy] : []), ...notes);
  }
  // The best bound that is proven; where the verdict was the goal, a positive one says no more than its sign.
  function bound(row, name, index) {
    const each = row[name][index], certified = (row.certified || [])[index];
    if (name !== "lower" && name !== "certified") return each;
    const best = name === "lower" && typeof certified === "number" && (each === null || certified > each) ? certified : each;
    return row.goal === "verdict" && best > 0 ? "> 0" : best;
  }
  function targets(row) {
    const names = ["targets", "lower", "upper", "certified", "claimed", "gap", "status", "stage"].filter((name) => row[name] && row[name].length === row.targets.length);
    if (!row.targets.length) return [];
    const kind = (name) => (["status", "stage"].includes(name) ? "" : "n");
    const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col", className: kind(name), textContent: name === "targets" ? "target" : name })));
    const lines = row.targets.map((target, index) => make("tr", {}, ...names.map((name) => {
      const each = bound(row, name, index);
      return make("td", { className: kind(name), textContent: each === null ? "-" : typeof each === "number" && name !== "targets" ? value(each) : each });
    })));
    const table = make("table", {}, make("caption", { className: "away", textContent: "Targets" }), make("thead", {}, head), make("tbody", {}, ...lines));
    return titled("Targets", make("div", { className: "wide", tabIndex: 0 }, table));
  }
  const log = (found) => titled("Solver's log", ...(found.log ? [make("pre", { className: "log", tabIndex: 0, textContent: found.log })] : []), make("p", { className: "note", textContent: found.log_note }));
  const whole = (row) => titled("Row", make("pre", { className: "row", tabIndex: 0, textContent: JSON.stringify(row, null, 1) }));
})();
