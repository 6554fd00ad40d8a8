// Shows the graph. Everything from the data reaches the page as text: textContent and attributes, never markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const make = (tag, fields = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), fields);
    made.append(...children.filter((child) => child !== null));
    return made;
  };
  const plural = (count, what) => `${count.toLocaleString()} ${what}${count === 1 ? "" : "s"}`;
  const clock = (seconds) => {
    const [whole, two] = [Math.floor(seconds), (number) => String(number).padStart(2, "0")];
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
  };
  const words = (kind) => kind.toLowerCase().replaceAll("_", " ");
  const typeWords = (type) => type.replace(/([a-z])([A-Z])/g, "$1 $2");

  // --- looks ------------------------------------------------------------------------------------------------
  const HUES = [210, 28, 145, 345, 265, 48, 185, 320, 95, 235, 5, 165];
  const SHAPES = ["ellipse", "round-diamond", "round-triangle", "round-hexagon"];
  const EPISODE = data.types.length; // recordings are a type of their own, after those of the data
  const EVERYTHING = 200, FIRST = 150, MOST_AROUND = 60, MOST_BROUGHT = 20, LISTED = 60, BENT_EDGES = 900;
  const FONT = "system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif";
  const LETTERS = 12.5, LABEL_WIDTH = 128, LABEL_LINE = 15, LONGEST_LABEL = 44, LONGEST_TITLE = 30, MOST_LABELS = 70; // pixels on the screen
  const SPACING = 74, GAP = 22, WIDER = 1.3, MOST_SPREAD = 600, AROUND_FIRST = 16; // of nodes, where an average one is 25 wide
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (type) => type === EPISODE
    ? (dark.matches ? "#aab3bd" : "#737c86")
    : `hsl(${HUES[type % HUES.length]}, ${dark.matches ? "52%, 62%" : "50%, 47%"})`;
  const shape = (type) => type === EPISODE ? "round-rectangle" : SHAPES[Math.floor(type / HUES.length) % SHAPES.length];
  const typeName = (type) => type === EPISODE ? "Recording" : typeWords(data.types[type]);
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const most = Math.max(1, ...data.nodes.map((node) => node.m));
  const size = (node, shown) => (16 + 44 * Math.sqrt(node.m / most)) * Math.min(2.2, Math.max(1, (shown / 150) ** 0.28));
  const style = () => {
    const [ink, bg, edge, accent, soft] = ["--ink", "--bg", "--edge", "--accent", "--soft"].map(variable);
    return [
      { selector: "node", style: {
        "background-color": (node) => colour(node.data("t")), shape: (node) => shape(node.data("t")),
        width: "data(size)", height: "data(size)", color: ink, "font-family": FONT, "text-valign": "bottom",
        "text-wrap": "wrap", "text-outline-color": bg,
      } },
      { selector: "node.named", style: { label: "data(label)", "z-index": 5 } },
      { selector: `node[t = ${EPISODE}]`, style: { "z-index": 6, "text-background-color": bg,
        "text-background-opacity": 0.85, "text-background-padding": 1 } },
      { selector: "edge", style: {
        width: (one) => Math.min(1.4 + Math.log2(one.data("m") || 1) * 0.8, 5), "line-color": edge,
        "target-arrow-color": edge, "target-arrow-shape": "triangle", "arrow-scale": 0.8, "curve-style": "straight",
        color: soft, "font-family": FONT, "text-rotation": "autorotate", "text-outline-color": bg,
      } },
      { selector: "edge.bent", style: { "curve-style": "bezier", "control-point-step-size": 28 } },
      { selector: "edge.where", style: { "line-style": "dotted", "target-arrow-shape": "none" } },
      { selector: ".dim", style: { opacity: 0.13, "text-opacity": 0 } },
      { selector: "edge.near", style: {
        label: "data(label)", "line-color": accent, "target-arrow-color": accent, "z-index": 8,
      } },
      { selector: "node.near", style: { "z-index": 9 } },
      { selector: "node:selected", style: { "border-color": accent, "font-weight": 700, "z-index": 10 } },
      { selector: "core", style: { "active-bg-opacity": 0, "selection-box-opacity": 0 } },
    ];
  };

  // --- what there is ----------------------------------------------------------------------------------------
  const nodes = data.nodes.map((node, at) => ({ ...node, at, id: `n${at}`, key: node.n.toLowerCase() }));
  const talks = data.recordings.map((one, at) => ({ ...one, at, id: `r${at}`, t: EPISODE, m: 0, key: one.n.toLowerCase() }));
  const edges = data.edges.map((edge, at) => ({ ...edge, at, id: `e${at}` }));
  const links = nodes.map(() => []);
  for (const edge of edges) {
    links[edge.s].push(edge);
    if (edge.g !== edge.s) links[edge.g].push(edge);
  }
  for (const node of nodes) node.words = [node.key, ...(node.a ?? []).map((alias) => alias.toLowerCase())];

  const state = {
    limit: nodes.length <= EVERYTHING ? nodes.length : FIRST,
    types: new Set(data.types.map((_, type) => type).concat(data.by_recording ? [EPISODE] : [])),
    kinds: new Set(data.kinds.map((_, kind) => kind)),
    recording: null, around: null, chosen: null,
  };

  const graph = cytoscape({
    container: find("graph"), style: style(), minZoom: 0.05, maxZoom: 4,
    boxSelectionEnabled: false, selectionType: "single", hideEdgesOnViewport: nodes.length > 1000,
  });

  // --- what is shown ----------------------------------------------------------------------------------------
  const fits = (node) => state.types.has(node.t) && (state.recording === null || node.r.includes(state.recording));
  const strongest = () => nodes.filter(fits);
  const neighbours = (centre) => {
    const near = new Set(links[centre.at].filter((edge) => state.kinds.has(edge.k)).flatMap((edge) => [edge.s, edge.g]));
    return [...near].filter((at) => at !== centre.at).sort((a, b) => a - b).slice(0, MOST_AROUND).map((at) => nodes[at]);
  };
  let grown = false; // whether things are shown only because of what is chosen
  const visibleNodes = () => {
    grown = false;
    if (state.around) return [state.around, ...neighbours(state.around).filter(fits)];
    const shown = strongest().slice(0, state.limit);
    const known = new Set(shown), more = brought().filter((node) => !known.has(node));
    grown = more.length > 0;
    return [...shown, ...more];
  };
  const ends = (thing) => {
    if (!thing || thing.t === EPISODE) return [];
    return thing.k === undefined ? [thing, ...neighbours(thing).slice(0, MOST_BROUGHT)] : [nodes[thing.s], nodes[thing.g]];
  };
  const brought = () => ends(state.chosen).filter((node) => node === state.chosen || state.chosen.k !== undefined || fits(node));
  const visibleEdges = (shown) => {
    const known = new Set(shown.map((node) => node.at));
    return edges.filter((edge) => state.kinds.has(edge.k) && known.has(edge.s) && known.has(edge.g)
      && (state.recording === null || edge.r.includes(state.recording)));
  };
  const talksOf = (shown) => {
    if (!state.types.has(EPISODE)) return [];
    const named = new Set(shown.flatMap((node) => node.r));
    return talks.filter((talk) => named.has(talk.at) && (state.recording === null || talk.at === state.recording));
  };
  const place = (node, scale) => ({ x: node.p[0] * scale * WIDER, y: node.p[1] * scale });
  const ring = (shown) => shown.map((node, turn) => { // the first in the middle, the others around it, nearest first
    if (!turn) return { x: 0, y: 0, radius: size(node, 1) / 2 };
    const far = Math.floor((turn - 1) / AROUND_FIRST), many = Math.min(AROUND_FIRST, shown.length - 1 - far * AROUND_FIRST);
    const angle = ((turn - 1) % AROUND_FIRST + far / 2) / many * 2 * Math.PI - Math.PI / 2 + (many === 1 ? 0.6 : 0);
    const away = 180 + 120 * far;
    return { x: away * WIDER * Math.cos(angle), y: away * Math.sin(angle), radius: size(node, 1) / 2 };
  });
  const spread = (at) => { // moves apart what would cover each other
    if (at.length > MOST_SPREAD) return at;
    for (let round = 0, moved = true; moved && round < 40; round += 1) {
      moved = false;
      for (let one = 0; one < at.length; one += 1) {
        for (let two = 0; two < one; two += 1) {
          const [a, b] = [at[one], at[two]], least = a.radius + b.radius + GAP;
          let [x, y] = [a.x - b.x, (a.y - b.y) / 1.4]; // labels stand below, so that it needs more room up and down
          const distance = Math.hypot(x, y);
          if (distance >= least) continue;
          if (distance < 1e-6) [x, y] = [Math.cos(one), Math.sin(one)];
          const by = (least - distance) / 2 / (Math.hypot(x, y) || 1);
          a.x += x * by; b.x -= x * by; a.y += y * by * 1.4; b.y -= y * by * 1.4;
          moved = true;
        }
      }
    }
    return at;
  };
  const amid = (talk, shown, scale) => {
    if (talk.p) return place(talk, scale);
    const near = shown.filter((node) => node.r.includes(talk.at));
    const mean = (axis) => near.reduce((sum, node) => sum + node.p[axis], 0) / near.length;
    const turn = talk.at * 2.4; // recordings with the same things must not stand on one spot
    return { x: (mean(0) + 0.05 * Math.cos(turn)) * scale * WIDER, y: (mean(1) + 0.05 * Math.sin(turn)) * scale };
  };

  const draw = ({ fit = true } = {}) => {
    const shown = visibleNodes(), talking = talksOf(shown), lines = visibleEdges(shown);
    const scale = SPACING * Math.sqrt(Math.max(Math.min(shown.length, state.limit), 8));
    const bent = lines.length <= BENT_EDGES ? "bent" : "";
    const still = state.around ? ring(shown)
      : shown.map((node) => ({ ...place(node, scale), radius: size(node, shown.length) / 2 }));
    const at = spread([...still, ...talking.map((talk) => ({ ...amid(talk, shown, scale), radius: 11 }))]);
    const elements = [
      ...shown.map((node, turn) => ({ group: "nodes", position: { x: at[turn].x, y: at[turn].y }, 
        data: { id: node.id, label: short(node.n), t: node.t, m: node.m, size: size(node, shown.length) } })),
      ...talking.map((talk, turn) => ({ group: "nodes", position: { x: at[shown.length + turn].x, y: at[shown.length + turn].y },
        data: { id: talk.id, label: short(talk.n, LONGEST_TITLE), t: EPISODE, m: 0, size: 22 } })),
      ...lines.map((edge) => ({ group: "edges", classes: bent,
        data: { id: edge.id, source: `n${edge.s}`, target: `n${edge.g}`, m: edge.m, label: words(data.kinds[edge.k]) } })),
    ];
    for (const talk of talking) {
      for (const node of shown) {
        if (node.r.includes(talk.at)) {
          elements.push({ group: "edges", classes: "where", selectable: false,
            data: { id: `${node.id}-${talk.id}`, source: node.id, target: talk.id, m: 1, label: "" } });
        }
      }
    }
    graph.batch(() => {
      graph.elements().remove();
      graph.add(elements);
    });
    find("nothing").hidden = shown.length > 0;
    find("around").hidden = !state.around;
    if (state.around) find("around").firstElementChild.textContent = `Only around ${state.around.n}`;
    find("status").textContent = `${plural(shown.length, "thing")}, ${plural(lines.length, "relation")} shown`;
    mark();
    if (fit) fitAll();
  };
  const short = (text, most = LONGEST_LABEL) => text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text;
  const fitAll = () => {
    graph.resize();
    graph.fit(undefined, 48);
    if (graph.zoom() > 1.4) graph.zoom({ level: 1.4, renderedPosition: { x: graph.width() / 2, y: graph.height() / 2 } });
  };
  const mark = () => {
    graph.batch(() => {
      graph.elements().removeClass("dim near").unselect();
      const one = state.chosen ? graph.getElementById(state.chosen.id) : graph.collection();
      if (one.empty()) return;
      const near = one.isNode() ? one.closedNeighborhood() : one.union(one.connectedNodes());
      graph.elements().difference(near).addClass("dim");
      near.addClass("near");
      one.select();
    });
    label();
  };

  // Labels keep their size on the screen whatever the zoom, and none covers another: the most important come first.
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `${LETTERS}px ${FONT}`;
  const widths = new Map();
  const widthOf = (text) => {
    if (!widths.has(text)) widths.set(text, pen.measureText(text).width);
    return widths.get(text);
  };
  const boxes = (node, at) => { // below the node, or else above it
    const width = widthOf(node.data("label")), lines = Math.ceil(width / LABEL_WIDTH + (width > LABEL_WIDTH ? 0.2 : 0));
    const half = Math.min(width, LABEL_WIDTH) / 2 + 3, high = lines * LABEL_LINE, gap = node.renderedHeight() / 2 + 2;
    const [left, right] = [at.x - half, at.x + half];
    return [{ left, right, top: at.y + gap, bottom: at.y + gap + high, side: "bottom" },
      { left, right, top: at.y - gap - high, bottom: at.y - gap, side: "top" }];
  };
  const apart = (a, b) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;
  const label = () => {
    const zoom = graph.zoom(), [wide, high] = [graph.width(), graph.height()];
    const places = graph.nodes().map((node) => ({ node, at: node.renderedPosition() }))
      .filter(({ at }) => at.x > -40 && at.y > -40 && at.x < wide + 40 && at.y < high + 20);
    const order = (node) => (node.selected() ? 2e9 : node.hasClass("near") ? 1e9 : 0) + node.data("m")
      + (node.data("t") === EPISODE ? 1e8 : 0);
    places.sort((a, b) => order(b.node) - order(a.node));
    const discs = places.map(({ node, at }) => ({ at, radius: node.renderedHeight() / 2, node })).filter(({ radius, node }) => radius > 6 && !node.hasClass("dim"));
    const covers = (one, node) => discs.some((disc) => disc.node !== node && disc.at.x + disc.radius > one.left
      && disc.at.x - disc.radius < one.right && disc.at.y + disc.radius > one.top && disc.at.y - disc.radius < one.bottom);
    const taken = [], named = [];
    for (const { node, at } of places) {
      if (named.length >= MOST_LABELS) break;
      if (node.hasClass("dim")) continue;
      const talk = node.data("t") === EPISODE; // there are few, and they tell what the crowd around them is
      const free = boxes(node, at).find((one) => taken.every((other) => apart(one, other)) && (talk || !covers(one, node)));
      if (!free) continue;
      taken.push(free);
      named.push([node, free.side]);
    }
    graph.batch(() => {
      graph.nodes(".named").removeClass("named");
      for (const [node, side] of named) {
        node.addClass("named").style({ "text-valign": side, "font-size": LETTERS / zoom, "text-max-width": `${(LABEL_WIDTH + 6) / zoom}px`,
          "text-outline-width": 2 / zoom, "text-margin-y": (side === "top" ? -3 : 3) / zoom });
      }
      graph.nodes(":selected").style({ "border-width": 3 / zoom });
      graph.nodes(":unselected").style({ "border-width": 0 });
      graph.edges(".near").style({ "font-size": 11 / zoom, "text-outline-width": 2 / zoom, width: 1.6 / zoom });
      graph.edges().difference(".near").removeStyle("width");
    });
  };
  let labelling = 0;
  const labelSoon = () => {
    clearTimeout(labelling);
    labelling = setTimeout(label, 60);
  };

  // --- the list ---------------------------------------------------------------------------------------------
  const matches = () => {
    const asked = find("search").value.toLowerCase().trim();
    const among = nodes.filter(fits);
    if (!asked) return among.sort((a, b) => b.m - a.m || a.at - b.at);
    const rank = (node) => {
      if (node.words.some((word) => word.startsWith(asked))) return 0;
      return node.words.some((word) => word.includes(asked)) ? 1 : 2;
    };
    return among.map((node) => [rank(node), node]).filter(([fit]) => fit < 2)
      .sort((a, b) => a[0] - b[0] || b[1].m - a[1].m || a[1].at - b[1].at).map(([, node]) => node);
  };
  const dot = (type) => {
    const made = make("i", { className: shape(type) === "ellipse" ? "dot" : "dot square" });
    made.style.background = colour(type);
    return made;
  };
  const list = () => {
    const found = matches();
    const lines = found.slice(0, LISTED).map((node) => {
      const button = make("button", { type: "button", onclick: () => choose(node, { move: true }) },
        dot(node.t), make("span", { textContent: node.n, title: node.n }), make("small", { textContent: node.m }));
      if (node === state.chosen) button.setAttribute("aria-current", "true");
      return make("li", {}, button);
    });
    if (!found.length) lines.push(make("li", { className: "none", textContent: "Nothing is called that." }));
    if (found.length > LISTED) {
      lines.push(make("li", { className: "none", textContent: `and ${(found.length - LISTED).toLocaleString()} more` }));
    }
    find("list").replaceChildren(...lines);
  };

  // --- details ----------------------------------------------------------------------------------------------
  const said = ([recording, start, end, speaker, quote]) => {
    const talk = data.recordings[recording];
    const where = make("small", {}, `${talk ? talk.n : "a recording"}, `);
    const time = make("time", { textContent: `${clock(start)}–${clock(end)}` });
    if (talk && talk.file && location.protocol === "file:") {
      where.append(make("a", { href: `${talk.file}#t=${Math.floor(start)}`, target: "_blank", title: "Listen" }, time));
    } else where.append(time);
    if (speaker) where.append(`, ${speaker}`);
    return make("blockquote", { className: "quote" }, data.quotes[quote], where);
  };
  const evidence = (thing) => {
    const more = thing.m - thing.e.length;
    return [
      make("h3", { textContent: `Said in ${plural(thing.r.length, "recording")}` }),
      ...thing.e.map(said),
      more > 0 ? make("p", { className: "sub", textContent: `and ${plural(more, "more place")}` }) : null,
    ];
  };
  const chip = (type) => make("span", { className: "chip" }, dot(type), typeName(type));
  const fact = (text) => make("span", { className: "chip", textContent: text });
  const head = (title) => make("div", { className: "head" }, make("h2", { textContent: title }),
    make("button", { type: "button", className: "close", ariaLabel: "Close", textContent: "×", onclick: () => choose(null) }));
  const to = (node) => make("button", { type: "button", textContent: node.n, onclick: () => choose(node, { move: true }) });
  const nodeDetails = (node) => {
    const around = links[node.at].filter((edge) => edge.s !== edge.g);
    const lines = around.map((edge) => {
      const out = edge.s === node.at;
      const label = out ? `${words(data.kinds[edge.k])} →` : `← ${words(data.kinds[edge.k])}`;
      return make("li", {}, make("button", { type: "button", className: "kind", textContent: label, title: "Where this is said",
        onclick: () => choose(edge) }), to(nodes[out ? edge.g : edge.s]));
    });
    return [
      head(node.n), chip(node.t), fact(`named ${plural(node.m, "time")}`), fact(`sure to ${Math.round(node.c * 100)} %`),
      node.d ? make("p", { textContent: node.d }) : null,
      node.a ? make("p", { className: "sub", textContent: `Also: ${node.a.join(", ")}` }) : null,
      ...(node.i ?? []).map((note) => make("p", { className: "note", textContent: note })),
      state.around === node ? null : make("button", { type: "button", className: "act", textContent: "Show only what is around it", onclick: () => lookAround(node) }),
      lines.length ? make("h3", { textContent: plural(lines.length, "relation") }) : null,
      lines.length ? make("ul", { className: "links" }, ...lines) : null,
      ...evidence(node),
    ];
  };
  const edgeDetails = (edge) => [
    head(`${nodes[edge.s].n} ${words(data.kinds[edge.k])} ${nodes[edge.g].n}`),
    fact(`said ${plural(edge.m, "time")}`), fact(`sure to ${Math.round(edge.c * 100)} %`),
    edge.d ? make("p", { textContent: edge.d }) : null,
    make("ul", { className: "links" }, make("li", {}, make("span", { className: "chip", textContent: "from" }), to(nodes[edge.s])),
      make("li", {}, make("span", { className: "chip", textContent: "to" }), to(nodes[edge.g]))),
    ...evidence(edge),
  ];
  const talkDetails = (talk) => [
    head(talk.n), chip(EPISODE), talk.date ? fact(talk.date) : null,
    make("h3", { textContent: "Talks about" }),
    make("ul", { className: "links" }, ...nodes.filter((node) => node.r.includes(talk.at)).slice(0, LISTED)
      .map((node) => make("li", {}, make("span", { className: "chip" }, dot(node.t), typeName(node.t)), to(node)))),
  ];
  const details = () => {
    const pane = find("details"), thing = state.chosen, was = pane.hidden;
    pane.hidden = !thing;
    if (thing) {
      const parts = thing.t === EPISODE ? talkDetails(thing) : thing.k === undefined ? nodeDetails(thing) : edgeDetails(thing);
      pane.replaceChildren(...parts.filter((part) => part !== null));
      pane.scrollTop = 0;
    }
    if (was !== pane.hidden) graph.resize();
  };

  // --- choosing ---------------------------------------------------------------------------------------------
  const choose = (thing, { move = false } = {}) => {
    state.chosen = thing;
    details();
    const stands = (node) => graph.getElementById(node.id).nonempty();
    const inSight = (thing === null || thing.t === EPISODE || ends(thing).every((node) => stands(node) || !fits(node))) && !grown;
    if (state.around && thing && !inSight) state.around = ends(thing)[0];
    if (inSight) mark();
    else draw({ fit: Boolean(state.around) });
    list();
    const one = thing ? graph.getElementById(thing.id) : graph.collection();
    if (move && one.nonempty() && !state.around) show(one.closedNeighborhood());
  };
  const show = (some) => {
    const box = some.boundingBox({ includeLabels: false }), room = 130;
    const level = Math.min(1.1, (graph.width() - room) / (box.w + 1), (graph.height() - room) / (box.h + 1));
    graph.animate({ zoom: level, center: { eles: some }, duration: 250 });
  };
  const lookAround = (node) => {
    state.around = state.chosen = node;
    details();
    draw();
    list();
  };
  const back = () => {
    if (state.around) {
      state.around = null;
      draw();
    } else if (state.chosen) choose(null);
  };

  // --- filters ----------------------------------------------------------------------------------------------
  const LEAST = Math.min(10, nodes.length);
  const toLimit = (value) => Math.round(LEAST * (nodes.length / LEAST) ** (value / 100));
  const toValue = (limit) => nodes.length > LEAST ? 100 * Math.log(limit / LEAST) / Math.log(nodes.length / LEAST) : 100;
  const showLimit = () => {
    const all = strongest().length;
    find("count").textContent = state.limit >= all ? `all ${all.toLocaleString()}`
      : `${state.limit.toLocaleString()} of ${all.toLocaleString()}`;
  };
  const filtered = () => {
    showLimit();
    list();
    draw();
  };
  const check = (set, value, label, count, mark_) => {
    const input = make("input", { type: "checkbox", checked: set.has(value), onchange: () => {
      if (input.checked) set.add(value); else set.delete(value);
      filtered();
    } });
    input.dataset.value = value;
    const only = make("button", { type: "button", textContent: "only", onclick: (event) => {
      event.preventDefault();
      set.clear();
      set.add(value);
      for (const other of input.closest("fieldset").querySelectorAll("input")) other.checked = set.has(Number(other.dataset.value));
      filtered();
    } });
    return make("label", { className: "check" }, input, mark_, make("span", { textContent: label, title: label }), only,
      make("small", { textContent: count.toLocaleString() }));
  };
  const counts = (things, key) => {
    const found = new Map();
    for (const thing of things) found.set(thing[key], (found.get(thing[key]) ?? 0) + 1);
    return found;
  };
  const byType = counts(nodes, "t"), byKind = counts(edges, "k");
  const filters = () => {
    find("types").replaceChildren(...data.types.map((_, type) => check(state.types, type, typeName(type), byType.get(type) ?? 0, dot(type))),
      check(state.types, EPISODE, "Recordings", talks.length, dot(EPISODE)));
    find("kinds").replaceChildren(...data.kinds.map((kind, at) => check(state.kinds, at, words(kind), byKind.get(at) ?? 0, null)));
  };
  const fill = () => {
    find("recording").append(...talks.map((talk) => make("option", { value: talk.at, textContent: talk.n })));
    const { nodes: more, edges: others } = data.left_out;
    if (more || others) {
      const [all, lines] = [nodes.length + more, edges.length + others].map((number) => number.toLocaleString());
      find("left_out").textContent = `This page has the strongest ${nodes.length.toLocaleString()} of ${all} things and `
        + `${edges.length.toLocaleString()} of ${lines} relations; the tables beside it have all.`;
    }
  };

  // --- wiring -----------------------------------------------------------------------------------------------
  const lookup = (id) => id[0] === "n" ? nodes[Number(id.slice(1))] : id[0] === "r" ? talks[Number(id.slice(1))] : edges[Number(id.slice(1))];
  graph.on("tap", (event) => {
    if (event.target === graph) choose(null);
    else if (!event.target.hasClass("where")) choose(lookup(event.target.id()));
  });
  graph.on("dbltap", "node", (event) => {
    if (event.target.id()[0] === "n") lookAround(lookup(event.target.id()));
  });
  graph.on("zoom pan resize", labelSoon);
  graph.on("free", "node", label);
  graph.on("mouseover", "node, edge", () => { find("graph").style.cursor = "pointer"; });
  graph.on("mouseout", "node, edge", () => { find("graph").style.cursor = ""; });
  let waiting = 0;
  find("strongest").addEventListener("input", (event) => {
    state.limit = toLimit(Number(event.target.value));
    state.around = null;
    showLimit();
    clearTimeout(waiting);
    waiting = setTimeout(draw, 120);
  });
  find("recording").addEventListener("change", (event) => {
    state.recording = event.target.value === "" ? null : Number(event.target.value);
    state.around = null;
    filtered();
  });
  find("search").addEventListener("input", list);
  find("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") find("list").querySelector("button")?.click();
  });
  find("around").querySelector("button").addEventListener("click", back);
  const zoom = (by) => graph.zoom({ level: graph.zoom() * by, renderedPosition: { x: graph.width() / 2, y: graph.height() / 2 } });
  find("in").addEventListener("click", () => zoom(1.3));
  find("out").addEventListener("click", () => zoom(1 / 1.3));
  find("fit").addEventListener("click", fitAll);
  const along = (step) => {
    const buttons = [...find("list").querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (at + step < 0) find("search").focus();
    else buttons[Math.min(at + step, buttons.length - 1)]?.focus();
  };
  const keys = {
    "/": () => { find("search").focus(); find("search").select(); },
    o: () => { if (state.chosen && state.chosen.k === undefined && state.chosen.t !== EPISODE) lookAround(state.chosen); },
    "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), 0: fitAll,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inList = find("list").contains(document.activeElement) || document.activeElement === find("search");
    if (event.key === "Escape") {
      if (document.activeElement === find("search") && find("search").value) {
        find("search").value = "";
        list();
      } else back();
    } else if (inList && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      along(event.key === "ArrowDown" ? 1 : -1);
    } else if (keys[event.key] && !document.activeElement.matches("input:not([type=checkbox]), select")) {
      event.preventDefault();
      keys[event.key]();
    }
  });
  dark.addEventListener("change", () => {
    graph.style(style());
    label();
    filters();
    list();
    details();
  });
  addEventListener("resize", () => graph.resize());

  find("strongest").value = toValue(state.limit);
  find("strongest").disabled = nodes.length <= LEAST;
  fill();
  filters();
  filtered();
})();
