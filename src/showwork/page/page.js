// The report's behaviour: theme, charts, sortable tables, the example rows of a loss, the browser of generations.
// All text of records enters the page through textContent or createTextNode, never as markup.
(() => {
  "use strict";
  const root = document.documentElement;
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  // Theme ------------------------------------------------------------------------------------------------------------
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const applyTheme = () => {
    root.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
    one("#theme").textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
  };
  one("#theme").addEventListener("click", () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    applyTheme();
    draw();
  });
  dark.addEventListener("change", () => {
    applyTheme();
    draw();
  });

  // Charts -----------------------------------------------------------------------------------------------------------
  const SERIES = ["series-1", "series-2", "series-3", "series-4", "series-5", "series-6"];
  const chartConfig = () => ({
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    range: { category: SERIES.map(colour) },
    mark: { color: colour("series-1") },
    rule: { color: colour("muted") },
    text: { color: colour("ink") },
    axis: {
      labelColor: colour("muted"), titleColor: colour("muted"), titleFontWeight: "normal", labelFontSize: 12,
      titleFontSize: 12, gridColor: colour("line"), domain: false, ticks: false, labelPadding: 6,
    },
    legend: {
      labelColor: colour("ink"), titleColor: colour("muted"), orient: "top", direction: "horizontal", title: null,
      labelFontSize: 12, symbolType: "circle", symbolOpacity: 1, symbolStrokeWidth: 0, offset: 8, labelLimit: 260, columns: innerWidth < 700 ? 2 : 0,
    },
  });
  // A colour in a spec is the name of a CSS colour of the page, "--name", so that one spec serves both themes.
  const paint = (value) => {
    if (typeof value === "string" && value.startsWith("--")) return colour(value.slice(2));
    if (Array.isArray(value)) return value.map(paint);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, paint(inner)]));
    }
    return value;
  };
  const drawn = new Map();
  const draw = async () => {
    for (const holder of all("script.chart-spec")) {
      const target = document.getElementById(holder.dataset.chart);
      drawn.get(target)?.finalize();
      const spec = paint(JSON.parse(holder.textContent));
      const config = { ...chartConfig(), ...(spec.config ?? {}) };
      const result = await vegaEmbed(target, { ...spec, config }, { actions: false, renderer: "svg" });
      drawn.set(target, result);
    }
    root.dataset.charts = "drawn";
  };

  // Sortable tables: a head cell with data-sort becomes a button; groups of rows (tbody) move together ----------------
  const keyOf = (group, column) => {
    const cell = group.querySelector("tr").cells[column];
    const value = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(value);
    return value !== "" && Number.isFinite(number) ? number : value;
  };
  for (const head of all("th[data-sort]")) {
    const button = make("button", { type: "button" }, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const table = head.closest("table");
      const descending = head.getAttribute("aria-sort") !== "descending";
      all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const grouped = table.tBodies.length > 1;
      const groups = grouped ? [...table.tBodies] : [...table.tBodies[0].rows].map((row) => row);
      const key = (group) => keyOf(grouped ? group : { querySelector: () => group }, head.cellIndex);
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (typeof x === "number" && typeof y === "number") return x - y;
        if (typeof x === "number") return 1;
        if (typeof y === "number") return -1;
        return x.localeCompare(y);
      };
      groups.sort((a, b) => (descending ? -1 : 1) * compare(a, b));
      (grouped ? table : table.tBodies[0]).append(...groups);
    });
  }

  // Example rows of a loss -------------------------------------------------------------------------------------------
  for (const button of all("tbody.loss .open")) {
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") !== "true";
      button.setAttribute("aria-expanded", String(open));
      document.getElementById(button.getAttribute("aria-controls")).hidden = !open;
    });
  }

  // Copy buttons -----------------------------------------------------------------------------------------------------
  for (const button of all(".copy")) {
    button.addEventListener("click", async () => {
      const text = one("pre", button.parentElement);
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // Generations ------------------------------------------------------------------------------------------------------
  const FIRST = 10;
  const MORE = 25;
  const unpack = async (holder) => {
    const bytes = Uint8Array.from(atob(holder.textContent.trim()), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };
  const FILTERS = {
    all: () => true,
    "well-formed": (b, a) => a.formed,
    malformed: (b, a) => !a.formed,
    right: (b, a) => a.right === true,
    wrong: (b, a) => a.right === false,
    looping: (b, a) => a.looping,
    truncated: (b, a) => a.truncated,
    improved: (b, a) => b !== a && ((a.right === true && b.right !== true) || (a.right === null && a.formed && !b.formed)),
    worse: (b, a) => b !== a && ((b.right === true && a.right !== true) || (a.right === null && b.formed && !a.formed)),
  };
  const marked = (text, needle, into) => {
    if (!needle) return into.append(text);
    const lower = text.toLowerCase();
    if (lower.length !== text.length) return into.append(text); // a few letters change length when lowered: no marks then
    let from = 0;
    for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, from)) {
      into.append(text.slice(from, at), make("mark", {}, text.slice(at, at + needle.length)));
      from = at + needle.length;
    }
    into.append(text.slice(from));
  };
  const said = (text, needle) => {
    const holder = make("pre", { class: "said", tabindex: "0" });
    let inside = null;
    for (const piece of text.split(/(<\/?(?:reasoning|answer)>)/)) {
      if (/^<\/?(?:reasoning|answer)>$/.test(piece)) {
        holder.append(make("span", { class: "tag" }, piece));
        inside = piece.startsWith("</") ? null : piece === "<answer>" ? "answer" : "trace";
      } else if (piece) {
        const span = make("span", inside ? { class: inside } : {});
        marked(piece, needle, span);
        holder.append(span);
      }
    }
    if (!text) holder.append(make("span", { class: "trace" }, "(nothing)"));
    return holder;
  };
  const badge = (text, kind) => make("span", { class: `badge ${kind}` }, text);
  const column = (name, output, needle) => {
    const title = make("h4", {}, name);
    title.append(output.formed ? badge("well-formed", "good") : badge(output.reason || "malformed", "bad"));
    if (output.right !== null) title.append(output.right ? badge("right", "good") : badge("wrong", "bad"));
    if (output.looping) title.append(badge("looping", "caution"));
    if (output.truncated) title.append(badge("truncated", "caution"));
    title.append(badge(`${output.tokens} tokens`, "muted"));
    const holder = make("div", {}, title, said(output.text, needle));
    if (output.direct) {
      const line = make("p", { class: "direct" }, "Answering directly: ", output.direct.text || "(nothing)", " ");
      if (output.direct.right !== null) line.append(output.direct.right ? badge("right", "good") : badge("wrong", "bad"));
      holder.append(line);
    }
    return holder;
  };
  const browse = async () => {
    const holder = one("#generations-data");
    if (!holder) return;
    const { models, prompts } = await unpack(holder);
    const list = one("#cards");
    const status = one("#shown");
    const more = one("#more");
    const state = { needle: "", filter: "all", source: "", before: models[0], after: models[models.length - 1], limit: FIRST };
    for (const prompt of prompts) {
      prompt.haystack = [prompt.question, prompt.gold, ...models.map((m) => prompt.outputs[m]?.text ?? "")].join("\n").toLowerCase();
    }
    const hits = () => prompts.filter((prompt) =>
      (!state.source || prompt.source === state.source)
      && (!state.needle || prompt.haystack.includes(state.needle))
      && FILTERS[state.filter](prompt.outputs[state.before], prompt.outputs[state.after]));
    const card = (prompt) => {
      const question = make("p", { class: "question" });
      marked(prompt.question, state.needle, question);
      const gold = make("span");
      marked(prompt.gold, state.needle, gold);
      const columns = make("div", { class: "columns" });
      const names = state.before === state.after ? [state.after] : [state.before, state.after];
      for (const name of names) columns.append(column(name, prompt.outputs[name], state.needle));
      return make("article", { class: "card" },
        make("header", {}, question, make("p", { class: "about" }, `${prompt.source} · gold answer: `, gold)), columns);
    };
    const show = () => {
      const found = hits();
      list.replaceChildren(...found.slice(0, state.limit).map(card));
      status.textContent = `${Math.min(state.limit, found.length).toLocaleString("en")} of ${found.length.toLocaleString("en")} shown`;
      more.hidden = found.length <= state.limit;
    };
    const change = (patch) => { Object.assign(state, { limit: FIRST }, patch); show(); };
    let waiting = 0;
    one("#search").addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => change({ needle: event.target.value.trim().toLowerCase() }), 120);
    });
    const recount = () => {
      for (const chip of all("#filters button")) {
        const passes = FILTERS[chip.dataset.filter];
        const number = prompts.filter((p) => passes(p.outputs[state.before], p.outputs[state.after])).length;
        one(".count", chip).textContent = number.toLocaleString("en");
      }
    };
    for (const chip of all("#filters button")) {
      chip.addEventListener("click", () => {
        all("#filters button").forEach((other) => other.setAttribute("aria-pressed", String(other === chip)));
        change({ filter: chip.dataset.filter });
      });
    }
    for (const name of ["source", "before", "after"]) {
      one(`#${name}`)?.addEventListener("change", (event) => {
        change({ [name]: event.target.value });
        recount();
      });
    }
    more.addEventListener("click", () => { state.limit += MORE; show(); });
    recount();
    show();
    root.dataset.generations = "shown";
  };

  applyTheme();
  browse();
  // The first paint comes before the charts: they need the large bundle and most lie below the fold.
  requestAnimationFrame(() => setTimeout(draw, 0));
})();
