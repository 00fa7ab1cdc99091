// Controls: choices, sliders, values under the pointer, buttons.

const byId = (id) => document.getElementById(id);
const planes = []; // a canvas for each architecture
const fields = []; // a function for each control that brings it up to date

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function draw() {
  readInk();
  for (const update of fields) update();
  levelsDrawn.clear();
  const plane = Boolean(data.y) && quantity().dims.includes(data.y);
  byId("planes").hidden = byId("scale").hidden = !plane;
  if (plane) {
    const limits = range([data.x, data.y], mean, mean);
    drawBar(byId("bar"), limits);
    planes.forEach((canvas, index) => drawPlane(canvas, index, limits));
  }
  const title = `${quantity().label} over ${data.axes[data.x].label}${where(data.x)}`;
  byId("profile-title").textContent = title;
  byId("lines").setAttribute("aria-label", `${title}, a line for each architecture`);
  drawProfile(byId("lines"));
  byId("about").textContent = about();
}

/** Returns in words the values of all axes but these. */
function where(...without) {
  const words = spellAll(at, "architecture", ...without);
  return words && `, ${words}`;
}

function about() {
  const { label, doc, equation, levels } = quantity();
  const words = (level, n) => (n < levels.length - 1 ? `lazy below ${level} (dashed)` : `rich from ${level} (solid)`);
  const drawn = levels.map(words).filter((_, n) => levelsDrawn.has(levels[n]));
  const lines = drawn.length ? ` Lines: ${drawn.join(", ")}.` : "";
  return `${label[0].toUpperCase()}${label.slice(1)}: ${doc}; ${equation}.${lines}`;
}

let waiting = 0;
function redraw() {
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    draw();
  });
}

/** Adds a control; `update` brings it up to date and returns whether it is of use now. */
function addField(kind, input, label, update) {
  input.id = `field-${fields.length}`;
  const name = element("label", { htmlFor: input.id }, ...label);
  const box = element("div", { className: `field ${kind}` }, ...(kind === "check" ? [input, name] : [name, input]));
  byId(kind === "range" ? "sliders" : "choices").append(box);
  fields.push(() => (box.hidden = !update()));
  input.addEventListener(kind === "range" ? "input" : "change", redraw);
}

function addSelect(label, names, read, write, useful) {
  const input = element("select", {}, ...names.map((name, i) => element("option", { value: i }, name)));
  input.addEventListener("change", () => write(Number(input.value)));
  addField("select", input, [label], () => ((input.value = read()), useful()));
}

function addCheck(label, checked, write, useful) {
  const input = element("input", { type: "checkbox", checked });
  input.addEventListener("change", () => write(input.checked));
  addField("check", input, [label], useful);
}

function addSlider(name) {
  const { values, words } = data.axes[name];
  const input = element("input", { type: "range", min: 0, max: values.length - 1, step: 1, name });
  const output = element("output");
  input.addEventListener("input", () => (at[name] = Number(input.value)));
  addField("range", input, [`${words} `, output], () => {
    input.value = at[name];
    output.textContent = spell(name, at[name]);
    input.setAttribute("aria-valuetext", output.textContent);
    return has(name);
  });
}

const has = (name) => quantity().dims.includes(name);

function addFields() {
  const labels = data.quantities.map((entry) => entry.label);
  addSelect("observable", labels, () => shown, (index) => (shown = index), () => labels.length > 1);
  const several = Object.keys(data.axes).filter((name) => data.axes[name].values.length > 1);
  const free = several.filter((name) => name !== "architecture" && name !== data.x);
  for (const name of free.filter((name) => !data.axes[name].symbol)) {
    addSelect(name, data.axes[name].values, () => at[name], (index) => (at[name] = index), () => has(name));
  }
  addCheck("logarithmic", logarithmic, (checked) => (logarithmic = checked), () => true);
  const timed = () => free.includes("time") && has("time");
  addCheck("same scale at all times", held, (checked) => (held = checked), timed);
  for (const name of free.filter((name) => data.axes[name].symbol)) addSlider(name);
}

function addPlanes() {
  data.axes.architecture.values.forEach((name, architecture) => {
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    planes.push(canvas);
    byId("planes").append(element("figure", {}, element("h3", {}, name), canvas));
    follow(canvas, ([i, j]) => {
      if (i < 0 || j < 0) return null;
      const place = { ...at, architecture, [data.x]: i, [data.y]: j };
      return [name, `${quantity().label} = ${measure(place)}`, spellAll(place, "architecture")];
    });
    canvas.addEventListener("click", (event) => {
      const [, j] = canvas.hit(event.offsetX, event.offsetY);
      if (j >= 0) at[data.y] = j;
      redraw();
    });
  });
}

function addProfile() {
  const names = data.axes.architecture.values;
  names.forEach((name, index) => byId("legend").append(element("li", {}, sample(look(index)), name)));
  follow(byId("lines"), ([i]) => {
    if (i < 0) return null;
    const point = { ...at, [data.x]: i };
    const rows = names.map((name, architecture) => `${name}: ${measure({ ...point, architecture })}`);
    return [`${quantity().label} at ${spellAll(point, "architecture")}`, ...rows];
  });
}

/** Returns a piece of a line for the legend. */
function sample({ stroke, dash }) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("aria-hidden", "true");
  const attributes = { d: "M0 5H28", stroke, "stroke-width": 3, "stroke-dasharray": dash.join(" ") };
  for (const [name, setting] of Object.entries(attributes)) path.setAttribute(name, setting);
  svg.append(path);
  return svg;
}

/** Shows the text of `describe` for the place under the pointer or the finger. */
function follow(canvas, describe) {
  const tip = byId("tip");
  const show = (event) => {
    const lines = describe(canvas.hit(event.offsetX, event.offsetY));
    tip.hidden = !lines;
    if (!lines) return;
    tip.style.left = 0; // so that its width does not depend on its last place
    const [head, ...rest] = lines;
    tip.replaceChildren(element("strong", {}, head), ...rest.map((words) => element("p", {}, words)));
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const below = event.clientY + 18 + tip.offsetHeight < window.innerHeight;
    tip.style.left = `${Math.max(8, Math.min(room, event.clientX + 14)) + window.scrollX}px`;
    tip.style.top = `${event.clientY + window.scrollY + (below ? 18 : -12 - tip.offsetHeight)}px`;
  };
  canvas.addEventListener("pointermove", show);
  canvas.addEventListener("pointerdown", show);
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") tip.hidden = true; // after a touch it stays
  });
}

/** Draws again when the page is zoomed or moves to a screen with other pixels. */
function watchPixels() {
  const same = matchMedia(`(resolution: ${devicePixelRatio}dppx)`);
  const differ = () => {
    redraw();
    watchPixels();
  };
  same.addEventListener("change", differ, { once: true });
}

function copy(button) {
  const source = byId(button.dataset.copy);
  const announce = (words) => {
    button.textContent = words;
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
  const select = () => {
    getSelection().selectAllChildren(source);
    announce("Selected");
  };
  if (!navigator.clipboard) return select();
  navigator.clipboard.writeText(source.textContent).then(() => announce("Copied"), select);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button));
}
if (data) {
  for (const [name, axis] of Object.entries(data.axes)) unpackAxis(name, axis);
  for (const entry of data.quantities) for (const part of ["mean", "std", "count"]) unpackNumbers(entry[part]);
  addFields();
  if (data.y) addPlanes();
  addProfile();
  draw();
  new ResizeObserver(redraw).observe(byId("diagrams"));
  watchPixels();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("pointerdown", ({ target }) => (byId("tip").hidden ||= target.tagName !== "CANVAS"));
}
