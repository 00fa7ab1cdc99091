"use strict";

// The data of the page: numbers by their places on the axes, and as text.

const data = JSON.parse(document.getElementById("data").textContent);
const at = data ? { ...data.start } : {}; // the index that is looked at, by axis

const quantity = () => data.quantities[data.shown];
const has = (name) => quantity().dims.includes(name);
const mean = (place) => value(quantity().mean, place);
const std = (place) => value(quantity().std, place);
const count = (place) => value(quantity().count, place);

function unpack() {
  const { axes, quantities } = data;
  if (axes.time) axes.time.values = axes.time.values.map(Number); // t = ∞ is a text in JSON
  for (const part of quantities.flatMap((entry) => [entry.mean, entry.std, entry.count]).filter(Boolean)) {
    const bytes = Uint8Array.from(atob(part.data), (letter) => letter.charCodeAt(0));
    part.values = new Float32Array(bytes.buffer); // little-endian, as all machines with browsers are
    const strides = part.shape.map((_, i) => part.shape.slice(i + 1).reduce((a, b) => a * b, 1));
    part.strides = part.dims.map((name, i) => [name, strides[i]]);
  }
}

function value(part, place) {
  if (!part) return NaN;
  let offset = 0;
  for (const [name, stride] of part.strides) offset += stride * place[name];
  return part.values[offset];
}

/**
 * Calls `use` with `place` moved along those of `names` that the quantity has, on the shown architectures. It is
 * always the same object, so read it at once.
 */
function each([name, ...others], place, use) {
  if (!name) return use(place);
  if (!has(name)) return each(others, place, use);
  for (const i of name === "architecture" ? data.included : data.axes[name].values.keys()) {
    place[name] = i;
    each(others, place, use);
  }
}

/** Returns the index of the value of an axis whose span has a place, or -1. */
const find = (axis, place) => axis.spans.findIndex(([low, high]) => place >= low && place <= high);

function text(number, digits = 5) {
  if (Number.isNaN(number)) return "no value";
  const [size, sign] = [Math.abs(number), number < 0 ? "−" : ""];
  if (size === Infinity) return `${sign}∞`;
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return sign + String(Number(size.toPrecision(digits)));
  const [factor, power] = size.toExponential(digits - 1).split("e").map(Number);
  const raised = String(power).replace(/./g, (digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]));
  return `${sign}${factor === 1 ? "" : `${factor} × `}10${raised}`;
}

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

/** Returns the numbers at all values of some axes, and at what is chosen of the others, as CSV. */
function table(...along) {
  const columns = [...new Set([...along, ...quantity().dims])].filter(has);
  const lines = [[...columns, "mean", "std", "seeds"].join()];
  const cell = (number) => (Number.isNaN(number) ? "" : Number(number.toPrecision(8))); // of a float32
  const quoted = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  each(along, { ...at }, (place) => {
    const values = columns.map((name) => quoted(data.axes[name].values[place[name]]));
    lines.push([...values, ...[mean, std, count].map((of) => cell(of(place)))].join());
  });
  return lines.join("\n");
}
