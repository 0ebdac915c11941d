// Shows the data of a report. All data is set as text or as an attribute that runs nothing.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("data").textContent);
  const tasks = report.tasks;
  const STATES = {
    failed: ["✘", "failed", "no attempt is left"],
    held: ["‖", "held", "its work waits on a branch of its own"],
    asking: ["?", "asking", "its agent waits for a person's answer"],
    gated: ["⊟", "gated", "it waits for a person's approval"],
    blocked: ["⊘", "blocked", "a task that it depends on cannot run"],
    interrupted: ["⚡", "interrupted", "its run was stopped"],
    in_progress: ["▶", "running", "an attempt is at work"],
    finished: ["◐", "finished", "its work has not landed yet"],
    ready: ["●", "ready", "nothing that it depends on is missing"],
    pending: ["○", "waiting", "for the tasks that it depends on"],
    skipped: ["↷", "skipped", "by the plan or a person"],
    completed: ["✔", "completed", "its work has landed"],
  };
  // Of an attempt → the state whose colour it has.
  const ATTEMPTS = {
    landed: "completed", held: "held", failed: "failed", asked: "asking", interrupted: "interrupted",
    running: "in_progress", finished: "finished", verifying: "finished", merged: "finished", chosen: "ready",
  };
  const NODE = { width: 176, height: 38, gapX: 66, foldX: 16, gapY: 9 };
  const READABLE = 0.52; // scale at which the ids of tasks can be read
  const PAPER = 680; // about the width of a printed page
  const LANE = { height: 24, least: 24, most: 38, top: 26, left: 64 };

  const get = (id) => document.getElementById(id);
  const colour = (state) => `var(--${state in STATES ? state : "pending"})`;
  const look = (state) => STATES[state] || ["○", state, ""];

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "colour") node.style.setProperty("--c", value);
      else if (name === "click") node.addEventListener("click", value);
      else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== undefined && child !== ""));
    return node;
  }
  const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  const button = (label, click, attributes = {}) => html("button", { type: "button", click, ...attributes }, label);

  const cut = (text, length) => ([...text].length <= length ? text : `${[...text].slice(0, length - 1).join("")}…`);
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  function duration(seconds) {
    if (seconds === undefined || seconds === null) return "";
    const whole = Math.round(seconds);
    if (whole < 60) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : whole} s`;
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
    if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
    return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  }
  const clock = (seconds) => {
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  };

  // -- what is known of the tasks --

  const dependents = tasks.map(() => []);
  const byId = new Map();
  tasks.forEach((task, place) => {
    task.depends_on ||= [];
    task.attempts ||= [];
    byId.set(task.id, place);
    for (const need of task.depends_on) dependents[need].push(place);
    task.haystack = [task.id, task.title, task.state, look(task.state)[1], task.reason || "",
      ...task.attempts.flatMap((each) => [each.agent || "", each.failure || ""])].join("\n").toLowerCase();
  });
  const criticalEdges = new Set();
  (report.chain || []).forEach((place, number, chain) => {
    if (number) criticalEdges.add(`${chain[number - 1]} ${place}`);
  });

  function reached(start, edges) {
    const found = new Set([start]);
    const open = [start];
    while (open.length) for (const next of edges(open.pop())) if (!found.has(next)) found.add(next), open.push(next);
    return found;
  }
  const ancestors = (place) => reached(place, (each) => tasks[each].depends_on);
  const descendants = (place) => reached(place, (each) => dependents[each]);

  // -- what a person has chosen --

  let selected = null;
  let focused = null;
  let view = "graph";
  const states = new Set();
  const matches = tasks.map(() => true);

  // -- header --

  function showHeader() {
    const run = report.run;
    get("title").textContent = run.title;
    get("outcome").textContent = run.outcome || "";
    get("facts").append(...(run.facts || []).map(([name, value]) =>
      html("div", {}, html("dt", {}, name), html("dd", {}, value))));
    for (const note of (report.notes || []).slice(0, 20)) {
      get("facts").append(html("div", {}, html("dt", {}, "note"), html("dd", {}, note)));
    }
    const counts = stateCounts();
    for (const [state, count] of counts) {
      const part = html("i", { colour: colour(state) });
      part.style.flexGrow = count;
      get("bar").append(part);
      const chip = button("", () => toggleState(state, chip), { class: "chip", "aria-pressed": "false", colour: colour(state), title: look(state)[2] });
      chip.append(html("b", {}, look(state)[0]), ` ${look(state)[1]} ${count}`);
      get("filters").append(chip);
      get("legend").append(html("li", { colour: colour(state) }, html("b", {}, look(state)[0]), look(state)[1]));
    }
    get("bar").setAttribute("aria-label", [...counts].map(([state, count]) => `${count} ${look(state)[1]}`).join(", ") || "no task");
    if ((report.chain || []).length) get("legend").append(html("li", {}, html("span", { class: "line" }), "longest chain of this run"));
  }
  function stateCounts() {
    const counts = new Map();
    for (const state of Object.keys(STATES)) {
      const count = tasks.filter((task) => task.state === state).length;
      if (count) counts.set(state, count);
    }
    return counts;
  }
  function toggleState(state, chip) {
    if (!states.delete(state)) states.add(state);
    chip.setAttribute("aria-pressed", String(states.has(state)));
    applyFilter();
  }

  // -- list --

  const rows = [];
  function showList() {
    tasks.forEach((task, place) => {
      const [mark, word] = look(task.state);
      const row = button("", () => select(place, true), { class: "row", colour: colour(task.state), tabindex: "-1", title: task.reason });
      row.append(
        html("span", { class: "mark", "aria-hidden": "true" }, mark),
        html("span", { class: "id", "data-critical": task.critical ? "◆" : undefined }, task.id),
        html("span", { class: "when" }, task.seconds ? duration(task.seconds) : word),
        html("span", { class: "name" }, task.title, html("span", { class: "unseen" }, ` (${word})`)),
        task.reason ? html("span", { class: "why" }, task.reason) : "");
      rows.push(row);
      get("list").append(html("li", {}, row));
    });
  }
  function applyFilter() {
    const words = get("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    tasks.forEach((task, place) => {
      const shown = (!states.size || states.has(task.state)) && words.every((word) => task.haystack.includes(word));
      matches[place] = shown;
      rows[place].parentElement.hidden = !shown;
      count += shown;
    });
    get("count").textContent = count === tasks.length ? plural(count, "task") : `${count} of ${plural(tasks.length, "task")}`;
    markRows();
    markMatches();
  }
  function markMatches() {
    for (const part of document.querySelectorAll("[data-place]")) {
      part.classList.toggle("unmatched", !matches[part.dataset.place]);
    }
  }
  // One row can be reached by Tab: the selected one, or the first.
  function markRows() {
    const shown = rows.findIndex((_, place) => matches[place]);
    const entry = selected !== null && matches[selected] ? selected : shown;
    rows.forEach((row, place) => {
      row.tabIndex = place === entry ? 0 : -1;
      if (place === selected) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    });
  }
  function move(step) {
    const shown = rows.map((_, place) => place).filter((place) => matches[place]);
    if (!shown.length) return;
    const active = rows.indexOf(document.activeElement);
    const from = shown.indexOf(active >= 0 ? active : selected);
    const next = shown[Math.min(shown.length - 1, Math.max(0, from < 0 ? 0 : from + step))];
    rows[next].focus();
    rows[next].scrollIntoView({ block: "nearest" });
    select(next, !get("panel").hidden);
  }

  // -- selection --

  function select(place, open, fromGraph = false) {
    selected = place;
    markRows();
    markSelected();
    if (open) showPanel(place);
    if (place !== null && !fromGraph) reveal(place);
    try {
      history.replaceState(null, "", place === null ? "#" : `#${encodeURIComponent(tasks[place].id)}`);
    } catch { /* a page without an address */ }
  }
  function markSelected() {
    for (const part of document.querySelectorAll("[data-place]")) {
      part.classList.toggle("selected", Number(part.dataset.place) === selected);
    }
    markRelated();
    markWaits();
  }

  // -- graph --

  let isFitted = false; // the graph is shown as a whole, and stays so
  let drawing = null; // { root, zoom, width, height, svg }
  // Columns that are too long for the page's shape are folded.
  function placesOf(subset) {
    const columns = (report.columns || []).map((column) => (subset ? column.filter((place) => subset.has(place)) : column)).filter((column) => column.length);
    const longest = Math.max(1, ...columns.map((column) => column.length));
    let most = 8;
    let found = folded(columns, most);
    while (most < longest && found.width > 1.7 * found.height) found = folded(columns, (most = Math.ceil(most * 1.2)));
    return found;
  }
  function folded(columns, most) {
    const at = new Map();
    const folds = [];
    let x = 0;
    for (const column of columns) {
      const parts = Math.ceil(column.length / most);
      const length = Math.ceil(column.length / parts);
      for (let part = 0; part < parts; part++) {
        folds.push({ x, places: column.slice(part * length, (part + 1) * length) });
        x += NODE.width + (part + 1 < parts ? NODE.foldX : NODE.gapX);
      }
    }
    const step = NODE.height + NODE.gapY;
    const tallest = Math.max(0, ...folds.map((fold) => fold.places.length));
    for (const fold of folds) {
      const top = ((tallest - fold.places.length) * step) / 2;
      fold.places.forEach((place, number) => at.set(place, { x: fold.x, y: top + number * step }));
    }
    return { at, width: Math.max(1, x - NODE.gapX), height: Math.max(1, tallest * step - NODE.gapY) };
  }
  function showGraph() {
    const subset = focused === null ? null : ancestors(focused);
    const { at, width, height } = placesOf(subset);
    const root = svg("g");
    const edges = svg("g");
    const nodes = svg("g");
    for (const [place, to] of at) {
      for (const need of tasks[place].depends_on) {
        const from = at.get(need);
        if (from) edges.append(edge(need, place, from, to));
      }
      nodes.append(graphNode(place, to));
    }
    root.append(edges, nodes);
    get("graph").replaceChildren();
    get("graph").style.setProperty("--content", `${Math.ceil(height) + 60}px`);
    const room = size(); // asked before there is much to lay out
    const picture = svg("svg", { role: "img", "aria-label": `Graph of ${plural(at.size, "task")}; the list has the same tasks` }, root);
    const zoom = d3.zoom().extent(() => [[0, 0], size()]).scaleExtent([0.01, 4]).on("zoom", ({ transform, sourceEvent }) => {
      if (sourceEvent) isFitted = false;
      root.setAttribute("transform", transform);
      picture.classList.toggle("far", transform.k < 0.62);
      picture.classList.toggle("very-far", transform.k < 0.22);
    });
    d3.select(picture).call(zoom).on("dblclick.zoom", null);
    drawing = { root, zoom, width, height, picture, at };
    enterGraph(room);
    get("graph").append(picture);
    if (selected !== null) reveal(selected);
    get("show-all").hidden = focused === null;
    get("focus").textContent = focused === null ? "" : `${tasks[focused].id} and ${plural(at.size - 1, "task")} that it waits for`;
    markMatches();
    markSelected();
  }
  function edge(need, place, from, to) {
    const [x1, y1] = [from.x + NODE.width, from.y + NODE.height / 2];
    const [x2, y2] = [to.x, to.y + NODE.height / 2];
    const bend = Math.max(24, (x2 - x1) / 2);
    const critical = criticalEdges.has(`${need} ${place}`) ? " critical" : "";
    return svg("path", { class: `edge${critical}`, "data-from": need, "data-to": place, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
  }
  function graphNode(place, { x, y }) {
    const task = tasks[place];
    const node = svg("g", { class: `node${task.critical ? " critical" : ""}`, "data-place": place, transform: `translate(${x} ${y})`, colour: colour(task.state) },
      svg("title", {}, `${task.id}: ${task.title} (${look(task.state)[1]})`),
      svg("rect", { width: NODE.width, height: NODE.height, rx: 5 }),
      svg("text", { class: "mark", x: 8, y: 16 }, look(task.state)[0]),
      svg("text", { class: "nid", x: 25, y: 15 }, cut(task.id, 20)),
      svg("text", { class: "name", x: 8, y: 31 }, cut(task.title, 25)));
    // Seen from afar, the id has the node for itself, and its size fits.
    node.style.setProperty("--far", `${Math.min(24, 138 / (0.6 * Math.min(20, [...task.id].length)))}px`);
    node.addEventListener("click", () => select(place, true, true));
    return node;
  }
  const size = () => [get("graph").clientWidth || 900, get("graph").clientHeight || 500];
  function fitScale([w, h]) {
    return Math.min(1.4, (w - 40) / drawing.width, (h - 40) / drawing.height);
  }
  function moveGraph(k, x, y) {
    isFitted = false;
    d3.select(drawing.picture).call(drawing.zoom.transform, d3.zoomIdentity.translate(x, y).scale(k));
  }
  function fitGraph([w, h] = size()) {
    const k = fitScale([w, h]);
    moveGraph(k, (w - k * drawing.width) / 2, (h - k * drawing.height) / 2);
    isFitted = true;
  }
  // All of it where that can be read, else its beginning.
  function enterGraph(room) {
    if (fitScale(room) >= READABLE) fitGraph(room);
    else moveGraph(READABLE, 20, (room[1] - READABLE * drawing.height) / 2);
  }
  // All of it as wide as the paper, whatever its size.
  function setPaper(isPaper) {
    if (!isPaper) return drawing.picture.removeAttribute("viewBox");
    moveGraph(Math.min(1, PAPER / drawing.width), 0, 0); // says how much can be read
    drawing.root.removeAttribute("transform");
    drawing.picture.setAttribute("viewBox", `-4 -4 ${Math.max(PAPER, drawing.width) + 8} ${drawing.height + 8}`);
  }
  // Show a task that was chosen elsewhere.
  function reveal(place) {
    const at = drawing && drawing.at.get(place);
    if (!at || view !== "graph") return;
    const [w, h] = size();
    const now = d3.zoomTransform(drawing.picture);
    const [left, top] = now.apply([at.x, at.y]);
    const [right, bottom] = now.apply([at.x + NODE.width, at.y + NODE.height]);
    if (now.k >= READABLE * 0.9 && left >= 0 && top >= 0 && right <= w && bottom <= h) return;
    const k = Math.max(now.k, READABLE);
    if (k <= fitScale([w, h])) fitGraph([w, h]);
    else moveGraph(k, w / 2 - k * (at.x + NODE.width / 2), h / 2 - k * (at.y + NODE.height / 2));
  }
  // While a task is selected, what it waits for and what waits for it stands out.
  function markRelated() {
    if (!drawing) return;
    const near = selected === null ? new Set() : new Set([...ancestors(selected), ...descendants(selected)]);
    drawing.picture.classList.toggle("related", selected !== null);
    for (const node of drawing.root.querySelectorAll(".node")) node.classList.toggle("near", near.has(Number(node.dataset.place)));
    for (const line of drawing.root.querySelectorAll(".edge")) {
      line.classList.toggle("near", near.has(Number(line.dataset.from)) && near.has(Number(line.dataset.to)));
    }
  }
  function setFocus(place) {
    focused = place;
    // Where the panel covers the graph, it would hide what was asked for.
    if (!get("panel").hidden && getComputedStyle(get("panel")).position === "fixed") closePanel();
    show("graph");
    showGraph();
  }

  // -- timeline --

  let stretch = 1;
  let timelineAt = null; // seconds → x
  function attemptsShown() {
    const found = [];
    tasks.forEach((task, place) => task.attempts.forEach((attempt) => {
      if (attempt.lane !== undefined && attempt.lane !== null) found.push({ ...attempt, lane: attempt.lane, start: attempt.start || 0, place });
    }));
    return found;
  }
  function showTimeline() {
    const box = get("timeline");
    const shown = attemptsShown();
    if (!shown.length) {
      box.replaceChildren(html("p", { class: "empty" }, "No attempt of this run has started."));
      return;
    }
    const end = Math.max(report.end || 0, ...shown.map((each) => each.start + (each.seconds || 0)), 1);
    const lanes = report.lanes || 1;
    const verifyRow = (report.verifies || []).length ? 1 : 0;
    const room = ((box.clientHeight || 0) - LANE.top - 48) / (lanes + verifyRow);
    LANE.height = Math.round(Math.max(LANE.least, Math.min(LANE.most, room)));
    const inner = Math.max(300, (box.clientWidth || 900) - 48 - LANE.left) * stretch;
    const height = LANE.top + (lanes + verifyRow) * LANE.height + 24;
    const x = (seconds) => LANE.left + (seconds / end) * inner;
    const y = (lane) => LANE.top + lane * LANE.height;
    timelineAt = { x, y };
    const picture = svg("svg", { width: inner + LANE.left + 16, height, viewBox: `0 0 ${inner + LANE.left + 16} ${height}`, role: "img",
      "aria-label": `Timeline of ${plural(shown.length, "attempt")}; the panel of a task has the same times` });
    for (const seconds of ticks(end, inner)) {
      picture.append(svg("line", { class: "tick", x1: x(seconds), x2: x(seconds), y1: 18, y2: height - 20 }),
        svg("text", { x: x(seconds), y: 13, "text-anchor": "middle" }, clock(seconds)));
    }
    for (let lane = 0; lane < lanes; lane++) {
      picture.append(svg("line", { class: "lane", x1: LANE.left, x2: x(end), y1: y(lane + 1) - 1, y2: y(lane + 1) - 1 }),
        svg("text", { x: 0, y: y(lane) + LANE.height / 2 + 4 }, `${report.run.lane_name || "slot"} ${lane}`));
    }
    for (const pause of report.pauses || []) {
      const [from, to] = [x(pause.start || 0), x(pause.end)];
      picture.append(svg("rect", { class: "pause", x: from, y: LANE.top, width: Math.max(2, to - from), height: lanes * LANE.height },
        svg("title", {}, `waiting ${duration(pause.end - (pause.start || 0))}: ${pause.why}`)));
      picture.append(svg("text", { class: "pause-name", x: from + 3, y: height - 6 }, cut(pause.why, 44)));
    }
    for (const each of shown) picture.append(bar(each, x, y));
    if (verifyRow) showVerifies(picture, x, y(lanes));
    picture.append(chainLinks(shown, x, y), svg("g", { id: "waits" }));
    box.replaceChildren(html("div", { class: "lanes" }, picture));
    markMatches();
    markSelected();
  }
  function ticks(end, width) {
    const wanted = end / Math.max(2, width / 90);
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400].find((each) => each >= wanted) || 604800;
    return Array.from({ length: Math.floor(end / step) + 1 }, (_, number) => number * step);
  }
  function bar(each, x, y) {
    const task = tasks[each.place];
    const [from, width] = [x(each.start), Math.max(2, x(each.start + (each.seconds || 0)) - x(each.start))];
    const name = each.attempt > 1 ? `${task.id} #${each.attempt}` : task.id;
    const part = svg("g", { class: `bar${task.critical ? " critical" : ""}`, "data-place": each.place, colour: colour(ATTEMPTS[each.state]) },
      svg("title", {}, `${task.id}, attempt ${each.attempt}: ${each.state}, ${duration(each.seconds)}\n${task.title}`),
      svg("rect", { x: from, y: y(each.lane) + 2, width, height: LANE.height - 6, rx: 3 }));
    const room = Math.floor((width - 6) / 6.8);
    if (room >= Math.min(6, [...name].length)) part.append(svg("text", { x: from + 4, y: y(each.lane) + LANE.height / 2 + 3 }, cut(name, room)));
    part.addEventListener("click", () => select(each.place, true));
    return part;
  }
  function showVerifies(picture, x, top) {
    picture.append(svg("text", { x: 0, y: top + LANE.height / 2 + 4 }, "verify"));
    for (const each of report.verifies) {
      const start = each.start || 0;
      const what = each.failure ? `failed: ${each.failure}` : "passed";
      const names = (each.tasks || []).join(", ") || "the branch alone";
      picture.append(svg("g", { class: "bar", colour: colour(each.failure ? "failed" : "completed") },
        svg("title", {}, `verify of ${cut(names, 200)}${each.bisecting ? " (to find the task at fault)" : ""}: ${what}, ${duration(each.seconds)}`),
        svg("rect", { x: x(start), y: top + 5, width: Math.max(2, x(start + each.seconds) - x(start)), height: LANE.height - 11, rx: 2 })));
    }
  }
  function chainLinks(shown, x, y) {
    const links = svg("g");
    const last = new Map();
    for (const each of shown) if (!last.has(each.place) || last.get(each.place).start < each.start) last.set(each.place, each);
    const chain = (report.chain || []).map((place) => last.get(place)).filter(Boolean);
    chain.forEach((each, number) => {
      const before = chain[number - 1];
      if (!before) return;
      const [x1, y1] = [x(before.start + (before.seconds || 0)), y(before.lane) + LANE.height / 2 - 1];
      links.append(svg("path", { class: "link", d: `M${x1} ${y1}L${x(each.start)} ${y(each.lane) + LANE.height / 2 - 1}` }));
    });
    return links;
  }
  function markWaits() {
    const group = get("waits");
    if (!group) return;
    group.replaceChildren();
    if (selected === null) return;
    for (const attempt of tasks[selected].attempts) {
      if (attempt.lane === undefined) continue;
      for (const wait of attempt.waits || []) {
        const at = timelineAt.y(attempt.lane) + LANE.height - 2;
        group.append(svg("line", { class: "wait", x1: timelineAt.x(wait.start || 0), x2: timelineAt.x(wait.end), y1: at, y2: at },
          svg("title", {}, `${duration(wait.end - (wait.start || 0))} ${wait.why}`)));
      }
    }
  }

  function show(name) {
    view = name;
    for (const each of ["graph", "timeline"]) {
      get(each).hidden = each !== name;
      get(`tab-${each}`).setAttribute("aria-selected", String(each === name));
      get(`tab-${each}`).tabIndex = each === name ? 0 : -1;
    }
    for (const id of ["focus", "show-all"]) get(id).hidden = name !== "graph" || (id === "show-all" && focused === null);
    if (name === "timeline") showTimeline();
    else if (selected !== null) reveal(selected);
  }
  function zoomBy(factor) {
    if (view === "graph") (isFitted = false), d3.select(drawing.picture).call(drawing.zoom.scaleBy, factor);
    else stretch = Math.min(200, Math.max(1, stretch * factor)), showTimeline();
  }
  function fit() {
    if (view === "graph") fitGraph(size());
    else stretch = 1, showTimeline();
  }

  // -- panel of one task --

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (digit) => digit.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }
  async function showPanel(place) {
    const task = tasks[place];
    const panel = get("panel");
    const wasHidden = panel.hidden;
    panel.hidden = false;
    document.querySelector("main").classList.add("with-panel");
    panel.replaceChildren(...panelHead(task, place));
    panel.scrollTop = 0;
    if (wasHidden) onNewSize();
    const texts = await unpacked(task.text);
    if (selected === place) panel.append(...panelTexts(task, texts));
  }
  function panelHead(task, place) {
    const [mark, word, meaning] = look(task.state);
    const head = [
      html("div", { class: "panel-head" },
        html("h2", { id: "panel-title" }, html("span", { class: "id" }, task.id), " ", task.title),
        button("Close", closePanel, { class: "tool", title: "Esc" })),
      html("p", {}, html("span", { class: "state", colour: colour(task.state) }, `${mark} ${word}`), task.reason ? `: ${task.reason}` : meaning ? ` – ${meaning}` : ""),
    ];
    if (task.critical) head.push(html("p", { class: "quiet" }, "◆ on the longest chain of this run"));
    if (task.depends_on.length) {
      head.push(button("Focus on what it waits for", () => setFocus(place), { class: "tool", title: "f" }));
      head.push(html("h3", {}, "Depends on"), idList(task.depends_on));
    }
    if (dependents[place].length) head.push(html("h3", {}, "Needed by"), idList(dependents[place]));
    return head;
  }
  function idList(places) {
    const list = html("div", { class: "ids" });
    for (const place of places.slice(0, 60)) {
      const task = tasks[place];
      list.append(button(html("b", { colour: colour(task.state) }, look(task.state)[0]), () => select(place, true), { title: task.title }));
      list.lastChild.append(task.id);
    }
    if (places.length > 60) list.append(` and ${places.length - 60} more`);
    return list;
  }
  function panelTexts(task, texts) {
    const parts = [];
    const block = (title, text, note, kind) => {
      if (!text && !note) return;
      parts.push(html("h3", {}, title));
      if (note) parts.push(html("p", { class: "quiet" }, note));
      if (text) parts.push(kind === "diff" ? diffBlock(text) : html("pre", { tabindex: "0", role: "region", "aria-label": title }, text));
    };
    const failures = new Map((texts.failures || []).map((failure) => [failure.place || 0, failure]));
    if (task.attempts.length) parts.push(html("h3", {}, "Attempts"));
    task.attempts.forEach((attempt, number) => parts.push(attemptBlock(attempt, failures.get(number), number === task.attempts.length - 1)));
    block("Prompt", texts.prompt, texts.prompt_note);
    block("Log of the last attempt", texts.log, texts.log_note);
    block("Diff", texts.diff, texts.diff_note, "diff");
    return parts;
  }
  function attemptBlock(attempt, failure, open) {
    const facts = [attempt.state, attempt.agent, duration(attempt.seconds)];
    if (attempt.cost_usd !== undefined && attempt.cost_usd !== null) facts.push(`$${attempt.cost_usd.toFixed(2)}`);
    if (attempt.tokens) facts.push(`${attempt.tokens.toLocaleString("en")} tokens`);
    const times = html("ul");
    for (const wait of attempt.waits || []) times.append(html("li", {}, `waited ${duration(wait.end - (wait.start || 0))} ${wait.why}`));
    if (attempt.lane !== undefined) times.append(html("li", {}, `started at ${clock(attempt.start || 0)} in ${report.run.lane_name || "slot"} ${attempt.lane}`));
    else times.append(html("li", {}, `in run ${attempt.run}`));
    const phases = attempt.phases || [];
    phases.forEach((phase, at) => {
      const over = (attempt.start || 0) + (attempt.seconds || 0);
      const end = Math.min(over, at + 1 < phases.length ? phases[at + 1].start || 0 : over);
      if (end - (phase.start || 0) >= 0.05) times.append(html("li", {}, `${phase.phase} ${duration(end - (phase.start || 0))}`));
    });
    if (attempt.commit) times.append(html("li", {}, `landed in ${attempt.commit.slice(0, 12)}`));
    if (attempt.kept) times.append(html("li", {}, `its work is kept at ${attempt.kept}`));
    const box = html("details", { class: "attempt", open: open || undefined },
      html("summary", {}, html("span", { class: "state", colour: colour(ATTEMPTS[attempt.state]) }, `Attempt ${attempt.attempt}`), ` ${facts.filter(Boolean).join(", ")}`), times);
    if (failure) {
      box.append(html("p", {}, html("strong", {}, failure.kind ? `${failure.kind}: ` : ""), failure.message || ""));
      if (failure.log_tail) box.append(html("pre", { tabindex: "0", role: "region", "aria-label": `End of the log of attempt ${attempt.attempt}` }, failure.log_tail));
      if (failure.look) box.append(html("p", { class: "command" }, `look: ${failure.look}`), html("p", { class: "command" }, `take: ${failure.take}`));
    }
    return box;
  }
  function diffBlock(text) {
    const block = html("pre", { class: "diff", tabindex: "0", role: "region", "aria-label": "Diff" });
    let inHeader = true;
    for (const line of text.split("\n")) {
      if (line.startsWith("diff --git ")) inHeader = true;
      const isHunk = line.startsWith("@@");
      if (isHunk) inHeader = false;
      const kind = isHunk ? "hunk" : inHeader ? "file" : { "+": "add", "-": "del" }[line[0]] || "";
      block.append(html("span", { class: kind || undefined }, line || " "));
    }
    return block;
  }
  function closePanel() {
    get("panel").hidden = true;
    document.querySelector("main").classList.remove("with-panel");
    if (selected !== null) rows[selected].focus();
    onNewSize();
  }
  function onNewSize() {
    if (view === "timeline") showTimeline();
    else if (isFitted && fitScale(size()) >= READABLE) fitGraph();
  }

  // -- theme and keys --

  const THEMES = ["system", "light", "dark"];
  function setTheme(name) {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    get("theme").textContent = `Theme: ${name}`;
    try { localStorage.setItem("fanin-theme", name); } catch { /* private or without storage */ }
  }
  function nextTheme() {
    const now = document.documentElement.dataset.theme || "system";
    setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  }
  function unselect() {
    if (!get("panel").hidden) closePanel();
    else if (focused !== null) setFocus(null);
    else if (selected !== null) select(null, false);
    else if (get("search").value) get("search").value = "", applyFilter();
  }
  const KEYS = [
    ["j", "next task", () => move(1)],
    ["k", "previous task", () => move(-1)],
    ["Enter", "open the task", () => selected !== null && (select(selected, true), get("panel").focus())],
    ["Escape", "close, then show all, then unselect", unselect],
    ["/", "search", () => (get("search").focus(), get("search").select())],
    ["g", "graph", () => show("graph")],
    ["t", "timeline", () => show("timeline")],
    ["f", "only what the task waits for, and back", () => setFocus(focused === null ? selected : null)],
    ["+", "zoom in", () => zoomBy(1.4)],
    ["-", "zoom out", () => zoomBy(1 / 1.4)],
    ["0", "fit into the window", fit],
    ["d", "light, dark or as the system", nextTheme],
    ["?", "these keys", () => get("help").showModal()],
  ];
  const ALSO = { ArrowDown: "j", ArrowUp: "k", "=": "+" };
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || get("help").open) return;
    if (event.target === get("search")) {
      if (event.key === "Escape") event.target.value ? ((event.target.value = ""), applyFilter()) : event.target.blur();
      else if (event.key === "Enter" || event.key === "ArrowDown") event.target.blur(), selected = null, move(0);
      else return;
      event.preventDefault();
      return;
    }
    const inRegion = event.target.closest?.("#panel, #timeline");
    if (event.key.startsWith("Arrow") && inRegion) return;
    // A button does what it says.
    if (event.key === "Enter" && event.target.matches?.("button, summary") && !event.target.matches(".row")) return;
    const key = ALSO[event.key] || event.key;
    const found = KEYS.find(([name]) => name === key);
    if (!found) return;
    event.preventDefault();
    found[2]();
  }
  function onTabKey(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    show(view === "graph" ? "timeline" : "graph");
    get(`tab-${view}`).focus();
  }
  function listen() {
    document.addEventListener("keydown", onKey);
    document.querySelector("[role=tablist]").addEventListener("keydown", onTabKey);
    get("search").addEventListener("input", applyFilter);
    get("tab-graph").addEventListener("click", () => show("graph"));
    get("tab-timeline").addEventListener("click", () => show("timeline"));
    get("zoom-in").addEventListener("click", () => zoomBy(1.4));
    get("zoom-out").addEventListener("click", () => zoomBy(1 / 1.4));
    get("fit").addEventListener("click", () => fit());
    get("show-all").addEventListener("click", () => setFocus(null));
    get("theme").addEventListener("click", nextTheme);
    get("keys").addEventListener("click", () => get("help").showModal());
    addEventListener("resize", onNewSize);
    addEventListener("beforeprint", () => {
      get("timeline").hidden = get("graph").hidden = false;
      stretch = 1;
      showTimeline();
      setPaper(true);
    });
    addEventListener("afterprint", () => (setPaper(false), show(view), enterGraph(size())));
    for (const [key, meaning] of KEYS) {
      get("key-list").append(html("dt", {}, html("kbd", {}, key === "Escape" ? "Esc" : key)), html("dd", {}, meaning));
    }
  }

  let theme = null;
  try { theme = localStorage.getItem("fanin-theme"); } catch { /* private or without storage */ }
  if (THEMES.includes(theme)) setTheme(theme);
  showHeader();
  showList();
  showGraph();
  applyFilter();
  listen();
  let wanted = "";
  try { wanted = decodeURIComponent(location.hash.slice(1)); } catch { /* no name of a task */ }
  if (byId.has(wanted)) select(byId.get(wanted), true);
})();
