// Controls: choices, sliders, values under the pointer, files to save.

const byId = (id) => document.getElementById(id);
let views; // of the models of Bokeh
const planar = () => Boolean(data.y) && has(data.y);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Takes over what the controls say, and shows those that are of use. */
function read() {
  const [x, y] = [byId("x-axis"), byId("y-axis")];
  if (x.value === y.value) [x.value, y.value] = [data.y, data.x]; // one was chosen for both
  [data.x, data.y] = [x.value || data.x, y.value];
  data.shown = Number(byId("observable").value);
  data.log = byId("logarithmic").checked; // the scale of the quantity, not those of the axes
  data.held = byId("same-scale-at-all-times").checked; // so that only the data change
  const names = data.axes.architecture.values;
  const parts = byId("architectures").value.split(",").map((part) => part.trim()).filter(Boolean);
  data.included = [...names.keys()].filter((i) => !parts.length || parts.some((part) => names[i].includes(part)));
  for (const field of document.querySelectorAll("[data-axis]")) {
    const [name, input] = [field.dataset.axis, field.querySelector("[name]")];
    field.hidden = !has(name) || (input && name === data.x);
    if (input) at[name] = Number(input.value);
    const output = field.querySelector("output");
    if (output) input.ariaValueText = output.textContent = spell(name, at[name]);
  }
}

function draw() {
  read();
  levelsDrawn.clear();
  byId("planes").hidden = byId("scale").hidden = !planar();
  drawProfile();
  if (planar()) drawPlanes();
  const { label } = quantity();
  const [x, y] = [data.axes[data.x].label, data.axes[data.y]?.label];
  byId("profile-title").textContent = `${label} over ${x}${where(data.x)}`;
  byId("lines").ariaLabel = `${label} over ${x}${where(data.x)}, a line for each architecture`;
  for (const [index, name] of data.axes.architecture.values.entries()) {
    byId(`key-${index}`).hidden = byId(`figure-${index}`).hidden = !data.included.includes(index);
    byId(`plane-${index}`).ariaLabel = `${name}: ${label} over ${x} and ${y}${where(data.x, data.y)}`;
  }
  byId("about").textContent = about();
}

/** Returns in words the values of all axes but these. */
function where(...without) {
  const words = spellAll(at, "architecture", ...without);
  return words && `, ${words}`;
}

function about() {
  const { label, doc, equation, levels } = quantity();
  const words = [`lazy below ${levels[0]} (dashed)`, `rich from ${levels[1]} (solid)`];
  const drawn = words.filter((_, n) => levelsDrawn.has(levels[n]));
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

/** Shows lines of text beside an event of Bokeh in a diagram, or hides the last ones. */
function tell(diagram, { sx, sy }, lines) {
  const tip = byId("tip");
  tip.hidden = !lines;
  if (!lines) return;
  tip.style.left = 0; // so that its width does not depend on its last place
  tip.replaceChildren(...lines.map((words, n) => element(n ? "p" : "strong", {}, words)));
  const { left, top } = byId(diagram).getBoundingClientRect();
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  const below = top + sy + 18 + tip.offsetHeight < window.innerHeight;
  tip.style.left = `${Math.max(8, Math.min(room, left + sx + 14)) + window.scrollX}px`;
  tip.style.top = `${top + sy + window.scrollY + (below ? 18 : -12 - tip.offsetHeight)}px`;
}

/** Returns the values of an architecture at a place in words, or null beside the cells. */
function describeCell(architecture, across, up) {
  const [i, j] = [find(data.axes[data.x], across), find(data.axes[data.y], up)];
  if (i < 0 || j < 0) return null;
  const place = { ...at, architecture, [data.x]: i, [data.y]: j };
  const name = data.axes.architecture.values[architecture];
  return [name, `${quantity().label} = ${measure(place)}`, spellAll(place, "architecture")];
}

function describeProfile(across) {
  const point = { ...at, [data.x]: find(data.axes[data.x], across) };
  if (point[data.x] < 0) return null;
  const names = data.axes.architecture.values;
  const rows = data.included.map((architecture) => `${names[architecture]}: ${measure({ ...point, architecture })}`);
  return [`${quantity().label} at ${spellAll(point, "architecture")}`, ...rows];
}

/** Hands the events of a diagram to `describe`. A tap also calls `mark`. */
function follow(diagram, describe, mark = () => {}) {
  const say = (event) => tell(diagram, event, describe(event.x, event.y));
  const pick = [say, ({ y }) => mark(y)];
  set(diagram, { js_event_callbacks: new Map([["mousemove", [say]], ["tap", pick], ["doubletap", pick]]) });
  byId(diagram).addEventListener("pointerleave", ({ pointerType }) => {
    if (pointerType === "mouse") byId("tip").hidden = true; // after a touch it stays
  });
}

/** Moves the mark to the row at a place. */
function mark(up) {
  const row = find(data.axes[data.y], up);
  if (row >= 0) document.getElementsByName(data.y)[0].value = row;
  redraw();
}

/** Gives Bokeh's diagrams the colours of the scheme that the reader prefers. */
function paint() {
  const scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  for (const [kind, attributes] of [...Object.entries(data.theme), ...Object.entries(data.themes[scheme])]) {
    const [model] = [Bokeh.Models.get(kind)];
    for (const one of Bokeh.documents[0].all_models) if (one instanceof model) one.setv(attributes);
  }
}

function save(content, name) {
  const href = URL.createObjectURL(content);
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

const fileName = () => `${document.title} ${quantity().label}`.replace(/[^\w.-]+/g, "-");

function saveNumbers() {
  const content = table("architecture", ...(planar() ? [data.y] : []), data.x);
  save(new Blob([content], { type: "text/csv" }), `${fileName()}.csv`);
}

/** Saves all diagrams that are shown as one picture, each at its place on the page. */
function savePicture() {
  const nodes = [...byId("diagrams").querySelectorAll("h3, .diagram, #legend li")].filter((node) => node.clientWidth);
  const [{ left, width }, { bottom }] = [byId("diagrams"), byId("drawn")].map((node) => node.getBoundingClientRect());
  const top = Math.min(...nodes.map((node) => node.getBoundingClientRect().top));
  const ratio = window.devicePixelRatio;
  const canvas = element("canvas", { width: width * ratio, height: (bottom - top) * ratio });
  const [ctx, { backgroundColor, color }] = [canvas.getContext("2d"), getComputedStyle(document.body)];
  ctx.fillStyle = backgroundColor;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  Object.assign(ctx, { fillStyle: color, lineWidth: 3 });
  for (const node of nodes) {
    const box = node.getBoundingClientRect();
    ctx.setTransform(ratio, 0, 0, ratio, (box.left - left) * ratio, (box.top - top) * ratio);
    if (node.className === "diagram") {
      ctx.drawImage(views.get(named[node.id][0]).export("png").canvas, 0, 0, box.width, box.height);
      continue;
    }
    const sample = node.querySelector("path"); // of a line, in the legend
    ctx.font = getComputedStyle(node).font;
    ctx.fillText(node.textContent, sample ? 36 : 0, 16, box.width);
    if (!sample) continue;
    ctx.strokeStyle = sample.getAttribute("stroke");
    ctx.setLineDash(sample.getAttribute("stroke-dasharray").split(" ").filter(Boolean).map(Number));
    ctx.stroke(new Path2D("M0 11H28"));
  }
  canvas.toBlob((blob) => save(blob, `${fileName()}.png`));
}

/** Copies the text that a button belongs to, or selects it where copying is not allowed. */
function copy(button) {
  getSelection().selectAllChildren(byId(button.dataset.copy));
  button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

/** Returns the text of an element that holds it compressed. */
async function inflated(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

async function start() {
  document.head.append(element("script", { textContent: await inflated("bokeh") }));
  const page = JSON.parse(await inflated("models"));
  const roots = page.roots.map(({ id, attributes }) => [id, attributes.name]);
  const item = { docid: "page", root_ids: roots.map(([id]) => id), roots: Object.fromEntries(roots) };
  Bokeh.logger.set_level("warn");
  [views] = await Bokeh.embed.embed_items({ page }, [item]);
  for (const model of Bokeh.documents[0].all_models) (named[model.name] ??= []).push(model);
  set("tools", { location: "above" }); // Python has no such attribute
  unpack();
  for (const name of ["x", "y", "height", "colours"]) tick(name);
  for (const index of data.axes.architecture.values.keys()) {
    follow(`plane-${index}`, (x, y) => describeCell(index, x, y), mark);
  }
  follow("lines", describeProfile);
  paint();
  draw();
  if (!matchMedia("(pointer: coarse)").matches) set("BoxZoomTool", { active: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  for (const kind of ["input", "change"]) byId("diagrams").addEventListener(kind, redraw);
  byId("numbers").addEventListener("click", saveNumbers);
  byId("picture").addEventListener("click", savePicture);
  document.addEventListener("pointerdown", ({ target }) => (byId("tip").hidden ||= !target.closest(".diagram")));
  document.body.dataset.ready = "";
}

for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
if (data) start();
