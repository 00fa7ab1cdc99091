"use strict";

// The data of the page, and numbers as text.

const data = JSON.parse(document.getElementById("data").textContent);
// Names of axes in words and symbols.
const NAMES = {
  lam: ["relative scale", "λ"],
  time: ["time", "t/τ"],
  init_scale: ["weight scale", "σ"],
  learning_rate: ["learning rate", "η"],
  kappa: ["width of the balance", "κ"],
  rate_ratio: ["ratio of learning rates", "η₂/η₁"],
};
const at = data ? { ...data.start } : {}; // the index that is looked at, by axis
let shown = data ? data.shown : 0; // the index of the quantity that is drawn

const quantity = () => data.quantities[shown];
const mean = (place) => value(quantity().mean, place);
const std = (place) => value(quantity().std, place);
const count = (place) => value(quantity().count, place);

function unpackAxis(name, axis) {
  if (name in NAMES) [axis.words, axis.symbol] = NAMES[name];
  if (!axis.symbol) return; // its values are texts
  axis.label = axis.words === axis.symbol ? axis.words : `${axis.words} ${axis.symbol}`;
  axis.values = axis.values.map(Number); // t = ∞ is a text in JSON
}

function unpackNumbers(part) {
  if (!part) return;
  const bytes = Uint8Array.from(atob(part.data), (letter) => letter.charCodeAt(0));
  part.values = new Float32Array(bytes.buffer); // little-endian, as all machines with browsers are
  part.stride = {};
  let step = 1;
  for (let i = part.dims.length - 1; i >= 0; i--) {
    part.stride[part.dims[i]] = step;
    step *= part.shape[i];
  }
}

function value(part, place) {
  if (!part) return NaN;
  let offset = 0;
  for (const name of part.dims) offset += part.stride[name] * place[name];
  return part.values[offset];
}

/** Calls `use` with `place` moved along all of `names`. It is always the same object, so read it at once. */
function each(names, place, use) {
  if (!names.length) return use(place);
  const [name, ...others] = names;
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
  if (size === 0) return "0";
  if (size >= 1e-3 && size < 1e5) return sign + String(Number(size.toPrecision(digits)));
  const [mantissa, power] = size.toExponential(digits - 1).split("e");
  const factor = String(Number(mantissa));
  return `${sign}${factor === "1" ? "" : `${factor} × `}10${raised(String(Number(power)))}`;
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
