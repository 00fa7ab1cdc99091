// Controls: choices, sliders, values under the pointer, files to save.

const byId = (id) => document.getElementById(id);
const fields = []; // a function for each control that brings it up to date
let wanted = []; // parts of names of architectures

const matches = (name) => !wanted.length || wanted.some((part) => name.includes(part));
const planar = () => Boolean(data.y) && has(data.y);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function draw() {
  for (const update of fields) update();
  levelsDrawn.clear();
  byId("planes").hidden = byId("scale").hidden = !planar();
  drawProfile();
  if (planar()) drawPlanes();
  const title = `${quantity().label} over ${data.axes[data.x].label}${where(data.x)}`;
  byId("profile-title").textContent = title;
  byId("lines").setAttribute("aria-label", `${title}, a line for each architecture`);
  data.axes.architecture.values.forEach((name, index) => {
    for (const id of [`key-${index}`, `figure-${index}`]) byId(id).hidden = !included(index);
    const over = `${quantity().label} over ${data.axes[data.x].label} and ${data.axes[data.y]?.label}`;
    byId(`plane-${index}`).setAttribute("aria-label", `${name}: ${over}${where(data.x, data.y)}`);
  });
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

/** Adds a control; `update` brings it up to date and returns whether it is of use now. */
function addField(kind, input, label, write, update) {
  input.id = `field-${fields.length}`;
  const name = element("label", { htmlFor: input.id }, ...label);
  const box = element("div", { className: `field ${kind}` }, ...(kind === "check" ? [input, name] : [name, input]));
  byId(kind === "range" ? "sliders" : "choices").append(box);
  fields.push(() => (box.hidden = !update()));
  input.addEventListener(kind === "select" || kind === "check" ? "change" : "input", () => {
    write(input);
    redraw();
  });
}

function addSelect(label, entries, read, write, useful) {
  const input = element("select", {}, ...entries.map(([key, words]) => element("option", { value: key }, words)));
  addField("select", input, [label], () => write(input.value), () => ((input.value = read()), useful()));
}

function addCheck(label, checked, write, useful) {
  addField("check", element("input", { type: "checkbox", checked }), [label], (input) => write(input.checked), useful);
}

function addSlider(name) {
  const { values, words } = data.axes[name];
  const input = element("input", { type: "range", min: 0, max: values.length - 1, step: 1, name });
  const output = element("output");
  addField("range", input, [`${words} `, output], () => (at[name] = Number(input.value)), () => {
    input.value = at[name];
    output.textContent = spell(name, at[name]);
    input.setAttribute("aria-valuetext", output.textContent);
    return has(name) && name !== data.x;
  });
}

function addFields() {
  const { axes } = data;
  const several = Object.keys(axes).filter((name) => axes[name].values.length > 1 && name !== "architecture");
  const labels = data.quantities.map((entry, index) => [index, entry.label]);
  addSelect("observable", labels, () => data.shown, (index) => (data.shown = index), () => labels.length > 1);
  const drawn = several.filter((name) => axes[name].drawn).map((name) => [name, axes[name].label]);
  const place = (side, other) => (name) => ([data[side], data[other]] = [name, name === data[other] ? data[side] : data[other]]);
  addSelect("horizontal", drawn, () => data.x, place("x", "y"), () => drawn.length > 1);
  addSelect("vertical", drawn, () => data.y, place("y", "x"), () => drawn.length > 2);
  for (const name of several.filter((name) => !axes[name].symbol)) {
    addSelect(name, [...axes[name].values.entries()], () => at[name], (index) => (at[name] = index), () => has(name));
  }
  const search = element("input", { type: "search", placeholder: "all, or as 4-2, wide" });
  const parts = () => (wanted = search.value.split(",").map((part) => part.trim()).filter(Boolean));
  addField("search", search, ["architectures"], parts, () => axes.architecture.values.length > 1);
  addCheck("logarithmic", logarithmic, (checked) => (logarithmic = checked), () => true);
  addCheck("same scale at all times", held, (checked) => (held = checked), () => several.includes("time") && has("time"));
  for (const name of several.filter((name) => axes[name].symbol)) addSlider(name);
}

/** Shows the values at an event of Bokeh beside it, and moves the mark to the row of a tap. */
function follow(plot, describe) {
  const tip = byId("tip");
  const show = ({ x, y, sx, sy }) => {
    const lines = describe(data.axes[data.x].find(x), y);
    tip.hidden = !lines;
    if (!lines) return;
    tip.style.left = 0; // so that its width does not depend on its last place
    const [head, ...rest] = lines;
    tip.replaceChildren(element("strong", {}, head), ...rest.map((words) => element("p", {}, words)));
    const { left, top } = byId(plot.name).getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const below = top + sy + 18 + tip.offsetHeight < window.innerHeight;
    tip.style.left = `${Math.max(8, Math.min(room, left + sx + 14)) + window.scrollX}px`;
    tip.style.top = `${top + sy + window.scrollY + (below ? 18 : -12 - tip.offsetHeight)}px`;
  };
  const mark = ({ y }) => {
    const row = plot.name === "lines" ? -1 : data.axes[data.y].find(y);
    if (row >= 0) at[data.y] = row;
    redraw();
  };
  const events = { mousemove: [show], tap: [show, mark], mouseleave: [() => (tip.hidden = true)] };
  plot.js_event_callbacks = new Map(Object.entries(events));
}

function followAll() {
  const names = data.axes.architecture.values;
  for (const [architecture, name] of names.entries()) {
    follow(models(`plane-${architecture}`)[0], (i, up) => {
      const j = data.axes[data.y].find(up);
      if (i < 0 || j < 0) return null;
      const place = { ...at, architecture, [data.x]: i, [data.y]: j };
      return [name, `${quantity().label} = ${measure(place)}`, spellAll(place, "architecture")];
    });
  }
  follow(models("lines")[0], (i) => {
    if (i < 0) return null;
    const point = { ...at, [data.x]: i };
    const rows = architectures().map((architecture) => `${names[architecture]}: ${measure({ ...point, architecture })}`);
    return [`${quantity().label} at ${spellAll(point, "architecture")}`, ...rows];
  });
}

/** Gives Bokeh's diagrams the colours of the scheme that the reader prefers. */
function paint() {
  const scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  for (const [kind, attributes] of [...Object.entries(data.theme), ...Object.entries(data.themes[scheme])]) {
    for (const model of diagrams._all_models.values()) {
      if (model instanceof Bokeh.Models.get(kind)) model.setv(attributes);
    }
  }
}

function save(content, name) {
  const href = URL.createObjectURL(content);
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

const title = () => `${document.title} ${quantity().label}`.replace(/[^\w.-]+/g, "-");

function saveNumbers() {
  const names = ["architecture", ...(planar() ? [data.y] : []), data.x].filter(has);
  save(new Blob([table(names, (place) => included(place.architecture))], { type: "text/csv" }), `${title()}.csv`);
}

/** Saves all diagrams that are shown as one picture, each at its place on the page. */
function savePicture(views) {
  const frame = byId("diagrams").getBoundingClientRect();
  const ratio = window.devicePixelRatio;
  const canvas = element("canvas", { width: frame.width * ratio, height: frame.height * ratio });
  const ctx = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  ctx.fillStyle = style.backgroundColor;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.scale(ratio, ratio);
  ctx.font = `600 15px ${style.fontFamily}`;
  ctx.fillStyle = style.color;
  for (const node of byId("diagrams").querySelectorAll("h3, .diagram, #legend li")) {
    const { left, top, width, height } = node.getBoundingClientRect();
    if (!width) continue;
    const place = [left - frame.left, top - frame.top];
    if (node.className !== "diagram") ctx.fillText(node.textContent, place[0], place[1] + 16, width);
    else ctx.drawImage(views.get(models(node.id)[0]).export("png").canvas, ...place, width, height);
  }
  canvas.toBlob((blob) => save(blob, `${title()}.png`));
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
  const [views] = await Bokeh.embed.embed_items({ page }, [item]);
  diagrams = Bokeh.documents[0];
  for (const [name, axis] of Object.entries(data.axes)) unpackAxis(name, axis);
  for (const entry of data.quantities) for (const part of ["mean", "std", "count"]) unpackNumbers(entry[part]);
  for (const name of ["x", "y", "height", "colours"]) tick(name);
  addFields();
  followAll();
  paint();
  draw();
  if (matchMedia("(pointer: fine)").matches) set("BoxZoomTool", { active: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  byId("numbers").addEventListener("click", saveNumbers);
  byId("picture").addEventListener("click", () => savePicture(views));
  document.addEventListener("pointerdown", ({ target }) => (byId("tip").hidden ||= !target.closest(".diagram")));
  document.body.dataset.ready = "";
}

for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
if (data) start();
