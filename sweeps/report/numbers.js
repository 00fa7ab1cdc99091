"use strict";

// The data of the page: numbers by their places on the axes, and as text.

const data = JSON.parse(document.getElementById("data").textContent);
const NAMES = {
  lam: ["relative scale", "λ"],
  time: ["time", "t/τ"],
  init_scale: ["weight scale", "σ"],
  learning_rate: ["learning rate", "η"],
  kappa: ["width of the balance", "κ"],
  rate_ratio: ["ratio of learning rates", "η₂/η₁"],
};
const STRIP = 0.06; // of the length of an axis, for a value without a place on it; the gap is a fifth of it
const at = data ? { ...data.start } : {}; // the index that is looked at, by axis

const quantity = () => data.quantities[data.shown];
const has = (name) => quantity().dims.includes(name);
const mean = (place) => value(quantity().mean, place);
const std = (place) => value(quantity().std, place);
const count = (place) => value(quantity().count, place);

/** Gives an axis its name, and each value a span of places: t = ∞, and 0 on a log axis, have strips aside. */
function unpackAxis(name, axis) {
  if (name in NAMES) [axis.words, axis.symbol] = NAMES[name];
  if (!axis.symbol) return; // its values are texts
  axis.label = axis.words === axis.symbol ? axis.words : `${axis.words} ${axis.symbol}`;
  axis.values = axis.values.map(Number); // t = ∞ is a text in JSON
  axis.drawn = axis.edges.length > 2;
  const scale = axis.log ? Math.log10 : Number;
  const places = axis.edges.map(scale);
  let [low, high] = [places[0], places.at(-1)];
  const strip = STRIP * (high - low);
  axis.inner = [low, high];
  axis.isolated = new Set();
  axis.spans = places.slice(1).map((place, i) => [places[i], place]);
  if (axis.log && axis.values[0] === 0) {
    axis.isolated.add(0);
    axis.spans.unshift([(low -= 1.2 * strip), low + strip]);
  }
  if (axis.values.at(-1) === Infinity) {
    axis.isolated.add(axis.spans.length);
    axis.spans.push([high + 0.2 * strip, (high += 1.2 * strip)]);
  }
  axis.outer = [low, high];
  axis.centres = axis.values.map((number, i) => (axis.isolated.has(i) ? middle(axis.spans[i]) : scale(number)));
  axis.find = (place) => axis.spans.findIndex(([a, b]) => place >= a && place <= b);
}

const middle = ([a, b]) => (a + b) / 2;

function unpackNumbers(part) {
  if (!part) return;
  const bytes = Uint8Array.from(atob(part.data), (letter) => letter.charCodeAt(0));
  part.values = new Float32Array(bytes.buffer); // little-endian, as all machines with browsers are
  const strides = part.shape.map((_, i) => part.shape.slice(i + 1).reduce((a, b) => a * b, 1));
  part.strides = part.dims.map((name, i) => [name, strides[i]]);
}

function value(part, place) {
  if (!part) return NaN;
  let offset = 0;
  for (const [name, stride] of part.strides) offset += stride * place[name];
  return part.values[offset];
}

/** Calls `use` with `place` moved along all of `names`. It is always the same object, so read it at once. */
function each([name, ...others], place, use) {
  if (!name) return use(place);
  for (let i = 0; i < data.axes[name].values.length; i++) {
    place[name] = i;
    each(others, place, use);
  }
}

function text(number, digits = 5) {
  if (Number.isNaN(number)) return "no value";
  const size = Math.abs(number);
  const sign = number < 0 ? "−" : "";
  if (size === Infinity) return `${sign}∞`;
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return sign + String(Number(size.toPrecision(digits)));
  const [factor, power] = size.toExponential(digits - 1).split("e").map(Number);
  return `${sign}${factor === 1 ? "" : `${factor} × `}10${raised(String(power))}`;
}

const raised = (power) => power.replace(/./g, (digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]));

/** Returns the value at an index of an axis in words. */
function spell(name, index) {
  const { symbol, values } = data.axes[name];
  return symbol ? `${symbol} = ${text(values[index], 6)}` : values[index];
}

/** Returns in words the values of a place on the axes of the quantity, except those in `without`. */
function spellAll(place, ...without) {
  const names = quantity().dims.filter((name) => !without.includes(name));
  return names.map((name) => spell(name, place[name])).join(", ");
}

/** Returns the mean, deviation and count at a place in words. */
function measure(place) {
  const [deviation, seeds] = [std(place), count(place)];
  const all = seeds < data.seeds ? ` of ${data.seeds.toLocaleString("en")}` : "";
  const over = `${seeds.toLocaleString("en")}${all} ${data.seeds === 1 ? "seed" : "seeds"}`;
  return `${text(mean(place))}${Number.isNaN(deviation) ? "" : ` ± ${text(deviation, 3)}`} (${over})`;
}

/** Returns the numbers of the diagrams as CSV: a row for each point of `names`, which are axes. */
function table(names, includes) {
  const fixed = quantity().dims.filter((name) => !names.includes(name));
  const columns = [...names, ...fixed];
  const rows = [[...columns, "mean", "std", "seeds"]];
  each(names, { ...at }, (place) => {
    if (!includes(place)) return;
    const numbers = [mean, std, count].map((of) => (Number.isNaN(of(place)) ? "" : Number(of(place).toPrecision(8))));
    rows.push([...columns.map((name) => data.axes[name].values[place[name]]), ...numbers]);
  });
  return rows.map((row) => row.map((cell) => (/[",]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(",")).join("\n");
}
