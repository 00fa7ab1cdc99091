// The diagrams: which numbers Bokeh draws, and where. They are drawn again when a choice changes.

const ROUNDING = 2.5e-7; // relative: numbers closer than two steps of a float32 are equal
const DECADES = 6; // below the largest value, at most, where values are on a logarithmic scale
const NOTHING = [0.1, 1]; // the ends of a scale on which no number has a place
const PIXELS = [320, 240]; // of a diagram, which its cells are drawn with
const levelsDrawn = new Set(); // the levels whose lines show somewhere
const scales = {}; // of each range of Bokeh: the axis that it shows
const named = {}; // the models of Bokeh by their names

const set = (name, attributes) => named[name].forEach((model) => model.setv(attributes));
const shade = (number) => (data.log ? Math.log10(Math.max(number, 0)) : number);
const look = (index) => ({ color: data.lines[index][0], line_dash: data.lines[index][1] });

/**
 * Returns the range from the least of `low` to the most of `high`, along the shown architectures and `names`.
 * It has no length if all are equal up to rounding errors, so that these do not show.
 */
function range(names, low, high) {
  let [least, most, positive] = [Infinity, -Infinity, Infinity];
  const { zero } = quantity(); // up to which absolute value a number is a rounding error
  each(["architecture", ...new Set([...names, ...(data.held ? ["time"] : [])])], { ...at }, (place) => {
    const [a, b] = [low(place), high(place)];
    if (Number.isFinite(a) && a < least) least = a;
    if (Number.isFinite(a) && a > zero && a < positive) positive = a;
    if (Number.isFinite(b) && b > most) most = b;
  });
  if (!(most >= least) || (data.log && most <= zero)) return NOTHING;
  if (Math.max(Math.abs(least), Math.abs(most)) <= zero) return [0, 0];
  if (data.log) least = Math.max(Math.min(positive, most), most / 10 ** DECADES);
  const equal = most - least <= ROUNDING * Math.max(Math.abs(least), Math.abs(most));
  return equal ? [most, most] : [least, most];
}

/** Lets a range of Bokeh show an axis, whole at first. It stays zoomed as long as the axis is the same. */
function show(name, axis) {
  const [start, end] = axis.outer;
  const key = JSON.stringify([axis.outer, axis.log, axis.label]);
  const same = scales[name]?.key === key;
  scales[name] = { ...axis, key };
  if (same) return;
  set(name, { bounds: null }); // the old ones would cut the new ends
  set(name, { start, end, reset_start: start, reset_end: end, bounds: [start, end] });
  set(`${name}-axis`, { axis_label: axis.label });
}

/** Returns the axis of the quantity itself, between two places. */
function shades(...ends) {
  return { outer: ends, inner: ends, aside: [], log: data.log, label: quantity().label };
}

/** Returns the places of round numbers between two places of a logarithmic axis, or of a linear one. */
function round(ticker, log, low, high, ...others) {
  if (low >= high) return [];
  if (!log || high - low < 0.5) {
    const ends = log ? [10 ** low, 10 ** high] : [low, high];
    return ticker.get_ticks(...ends, ...others).major.map((number) => (log ? Math.log10(number) : number));
  }
  const powers = Array.from({ length: Math.ceil(high - low) + 1 }, (_, n) => Math.floor(low) + n);
  const factors = high - low < 2.5 ? [1, 2, 5] : [1];
  return powers.flatMap((power) => factors.map((factor) => power + Math.log10(factor)));
}

/** Makes the ticks and labels of a range of Bokeh, in which numbers may have places of logarithms. */
function tick(name) {
  const ticker = new (Bokeh.Models.get("BasicTicker"))();
  named[`${name}-ticker`][0].get_ticks = (low, high, ...others) => {
    const { log, inner, aside, centres } = scales[name];
    const [a, b] = [Math.max(low, inner[0]), Math.min(high, inner[1])];
    const apart = aside.map((i) => centres[i]);
    const clear = (place) => apart.every((other) => Math.abs(place - other) > (high - low) / 14);
    const inside = (place) => place >= a && place <= b && clear(place);
    const places = round(ticker, log, a, b, ...others).filter(inside);
    return { major: [...apart, ...places].sort((p, q) => p - q), minor: [] };
  };
  named[`${name}-formatter`][0].doFormat = (places) => {
    const { log, aside, centres, values } = scales[name];
    return places.map((place) => {
      const apart = aside.find((i) => centres[i] === place);
      return text(apart === undefined ? (log ? 10 ** place : place) : values[apart], 4);
    });
  };
}

function drawPlanes() {
  const [x, y] = [data.axes[data.x], data.axes[data.y]];
  const limits = range([data.x, data.y], mean, mean);
  const [least, most] = limits.map(shade);
  const half = most > least ? 0 : Math.abs(least) / 10 || 1;
  const [low, high] = [least - half, most + half];
  show("y", y);
  show("colours", shades(low, high));
  set("mapper", { low, high: high + 1e-5 * (high - low) }); // above all cells, which are rounded to float32
  set("gradient", { data: { ...named.gradient[0].data, x: [low], dw: [high - low] } });
  set("mark", { location: y.centres[at[data.y]] });
  const ends = limits.map((number) => text(number)).join(" to ");
  byId("bar").ariaLabel = `colours: ${quantity().label} from ${ends}`;
  for (const index of data.included) drawPlane(index, x, y);
}

function drawPlane(architecture, x, y) {
  const place = { ...at, architecture };
  const cells = y.spans.map((_, j) =>
    Float32Array.from(x.spans, (_, i) => mean(Object.assign(place, { [data.x]: i, [data.y]: j }))),
  );
  const own = (name) => named[name][architecture];
  const [width, height] = PIXELS;
  const along = (axis, size) => {
    const [low, high] = axis.outer;
    return Array.from({ length: size }, (_, n) => find(axis, low + ((n + 0.5) / size) * (high - low)));
  };
  const [columns, rows] = [along(x, width), along(y, height)];
  const image = new Float32Array(width * height).fill(Infinity); // a gap, which the mapper leaves transparent
  const drawn = cells.map((row) => row.map((number) => (Number.isFinite(number) ? shade(number) : NaN)));
  for (let q = 0; q < height; q++) {
    for (let p = 0; rows[q] >= 0 && p < width; p++) {
      if (columns[p] >= 0) image[q * width + p] = drawn[rows[q]][columns[p]];
    }
  }
  const NDArray = own("cells").data.image[0].constructor; // BokehJS exports no other way to it
  const [[left, right], [bottom, top]] = [x.outer, y.outer];
  const pixels = [new NDArray(image, [height, width])];
  own("cells").data = { image: pixels, x: [left], y: [bottom], dw: [right - left], dh: [top - bottom] };
  drawRegimes(own, x, y, cells);
}

function drawRegimes(own, x, y, cells) {
  const { levels } = quantity();
  const [borders, words] = [{ xs: [], ys: [], line_dash: [] }, { x: [], y: [], text: [] }];
  const proper = (axis) => axis.centres.map((_, i) => i).filter((i) => !axis.aside.includes(i));
  const [is, js] = [proper(x), proper(y)];
  const inner = js.map((j) => is.map((i) => cells[j][i]));
  levels.forEach((level, n) => {
    const lines = contour(is.map((i) => x.centres[i]), js.map((j) => y.centres[j]), inner, level);
    for (const line of lines) {
      levelsDrawn.add(level);
      borders.xs.push(line.map(([across]) => across));
      borders.ys.push(line.map(([, up]) => up));
      borders.line_dash.push(n ? "solid" : "dashed");
    }
    const beside = (i, j) => x.aside.includes(i) || y.aside.includes(j);
    const inside = (i, j) => !beside(i, j) && (n ? cells[j][i] >= level : cells[j][i] < level);
    const room = roomiest(x, y, inside);
    if (!room) return;
    words.x.push(room[0]);
    words.y.push(room[1]);
    words.text.push(n ? "rich" : "lazy");
  });
  own("borders").data = borders;
  own("words").data = words;
}

function drawProfile() {
  const x = data.axes[data.x];
  const spread = (place) => (data.bands && std(place)) || 0;
  const ends = range([data.x], (p) => mean(p) - spread(p), (p) => mean(p) + spread(p)).map(shade);
  const margin = 0.04 * (ends[1] - ends[0]) || 0.5 * Math.abs(ends[1]) || 1;
  const [low, high] = [ends[0] - margin, ends[1] + margin];
  show("x", x);
  show("height", shades(low, high));
  for (const [n, name] of ["lazy", "rich"].entries()) {
    const level = shade(quantity().levels[n]);
    const visible = level > low && level < high;
    set(name, visible ? { visible, location: level } : { visible });
    set(`${name}-word`, visible ? { visible, y: level } : { visible });
    if (visible) levelsDrawn.add(quantity().levels[n]);
  }
  const parts = {
    strokes: { xs: [], ys: [], color: [], line_dash: [] },
    bands: { xs: [], ys: [], color: [] },
    dots: { x: [], y: [], color: [] },
  };
  for (const architecture of data.included) {
    const add = (part, row) => {
      for (const [key, column] of Object.entries(parts[part])) column.push({ ...row, ...look(architecture) }[key]);
    };
    const along = (use) => x.centres.map((_, i) => shade(use({ ...at, architecture, [data.x]: i })));
    const [ys, upper, lower] = [along(mean), along((p) => mean(p) + std(p)), along((p) => mean(p) - std(p))];
    for (const run of runs(x, ys)) {
      const line = { xs: run.map((i) => x.centres[i]), ys: run.map((i) => ys[i]) };
      if (run.length > 1) add("strokes", line);
      else add("dots", { x: line.xs[0], y: line.ys[0] });
    }
    for (const run of data.bands ? runs(x, upper) : []) {
      const half = run.length > 1 ? 0 : 0.008 * (x.outer[1] - x.outer[0]); // the width of a single one
      const ends = [run[0], ...run, run.at(-1)];
      const across = ends.map((i, n) => x.centres[i] + (n === 0 ? -half : n > run.length ? half : 0));
      const floor = ends.map((i) => (Number.isFinite(lower[i]) ? lower[i] : low)); // 0 is below a logarithmic scale
      const outline = [...ends.map((i) => upper[i]), ...floor.reverse()];
      add("bands", { xs: [...across, ...across.toReversed()], ys: outline });
    }
  }
  for (const [name, columns] of Object.entries(parts)) set(name, { data: columns });
}

/** Returns indices along an axis in runs: next to each other, on the axis proper, and with a height. */
function runs(axis, heights) {
  const lists = [[]];
  heights.forEach((height, i) => {
    if (axis.aside.includes(i) || !Number.isFinite(height)) lists.push([]);
    if (Number.isFinite(height)) lists.at(-1).push(i);
    if (axis.aside.includes(i)) lists.push([]);
  });
  return lists.filter((run) => run.length);
}
