// Scales: from the values of an axis to pixels, and from those of a quantity to a share of their range.

const STRIP = 16; // pixels for a value without a place on an axis; the gap before it is a quarter of them
const ROUNDING = 2.5e-7; // relative: numbers closer than two steps of a float32 are equal
const DECADES = 6; // below the largest value, at most, where values are on a logarithmic scale

let logarithmic = Boolean(data?.log); // the scale of the quantity, not those of the axes
let held = true; // whether that scale is the same at all times, so that only the data change

/** Returns round numbers from `low` to `high`, about `limit` of them at most. */
function ticks(low, high, log, limit) {
  if (!(high > low)) return low === high ? [low] : [];
  const numbers = [];
  const decades = Math.log10(high / low);
  if (log && decades >= 0.7) {
    const every = Math.ceil(decades / limit);
    const factors = 3 * decades <= 1.6 * limit ? [1, 2, 5] : [1];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += every) {
      numbers.push(...factors.map((factor) => factor * 10 ** power));
    }
  } else {
    const rough = (high - low) / Math.max(2, limit);
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9));
    while (Math.floor(high / step) - Math.ceil(low / step) < 1) step /= 2; // one number is no scale
    for (let k = Math.floor(low / step); k <= Math.ceil(high / step); k++) numbers.push(k * step);
  }
  const slack = 1e-9 * (high - low);
  const inside = numbers.filter((number) => number >= low - slack && number <= high + slack);
  return inside.map((number) => Number(number.toPrecision(9)));
}

/** Lays an axis from pixel `from` to `to`. t = ∞ gets a strip of its own, and so does 0 on a log axis. */
function lay(axis, from, to) {
  const strip = STRIP * Math.sign(to - from);
  const low = axis.log && axis.values[0] === 0;
  const high = axis.values.at(-1) === Infinity;
  const first = from + (low ? 1.25 * strip : 0);
  const last = to - (high ? 1.25 * strip : 0);
  const scaled = axis.log ? Math.log : (number) => number;
  const [a, b] = [scaled(axis.edges[0]), scaled(axis.edges.at(-1))];
  const place = (number) => first + ((scaled(number) - a) / (b - a)) * (last - first);
  const spans = axis.edges.slice(1).map((edge, i) => [place(axis.edges[i]), place(edge)]);
  const centres = axis.values.slice(low ? 1 : 0, high ? -1 : undefined).map(place);
  const marks = ticks(axis.edges[0], axis.edges.at(-1), axis.log, Math.abs(last - first) / 45);
  const labels = marks.map((number) => [place(number), text(number, 4)]);
  const isolated = new Set();
  if (low) {
    spans.unshift([from, from + strip]);
    centres.unshift(from + strip / 2);
    labels.unshift([centres[0], "0"]);
    isolated.add(0);
  }
  if (high) {
    spans.push([to - strip, to]);
    centres.push(to - strip / 2);
    labels.push([centres.at(-1), "∞"]);
    isolated.add(centres.length - 1);
  }
  const find = (pixel) => spans.findIndex(([p, q]) => (pixel - p) * (pixel - q) <= 0);
  return { spans, centres, labels, isolated, find };
}

/**
 * Returns the range from the least of `low` to the most of `high`, along all architectures and `names`. It has
 * no length if all are equal up to rounding errors, so that these do not show.
 */
function range(names, low, high) {
  let [least, most, positive] = [Infinity, -Infinity, Infinity];
  const along = new Set(["architecture", ...names, ...(held ? ["time"] : [])]);
  const dims = [...along].filter((name) => quantity().dims.includes(name));
  each(dims, { ...at }, (place) => {
    const [a, b] = [low(place), high(place)];
    if (Number.isFinite(a) && a < least) least = a;
    if (Number.isFinite(a) && a > quantity().zero && a < positive) positive = a;
    if (Number.isFinite(b) && b > most) most = b;
  });
  const { zero } = quantity(); // up to which absolute value a number is a rounding error
  if (Math.max(Math.abs(least), Math.abs(most)) <= zero) return [0, 0];
  if (logarithmic && most > 0) least = Math.max(positive, most / 10 ** DECADES);
  const equal = most - least <= ROUNDING * Math.max(Math.abs(least), Math.abs(most));
  return equal ? [most, most] : [least, most];
}

function share(number, [low, high]) {
  if (logarithmic) [number, low, high] = [number, low, high].map(Math.log);
  return high > low ? (number - low) / (high - low) : 0.5;
}
