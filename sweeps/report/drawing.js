// Phase diagrams, their colour bar and the profile; all are drawn again when something changes.

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';
const DASHES = [[], [7, 4], [2, 3]];
const ink = {}; // colours of the page, light or dark
const levelsDrawn = new Set(); // the levels whose lines show somewhere

function readInk() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["ink", "muted", "line", "accent", "void"]) {
    ink[name] = style.getPropertyValue(`--${name}`).trim();
  }
}

/** Makes a canvas as sharp as the screen; its context then counts in CSS pixels. */
function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const ctx = canvas.getContext("2d");
  ctx.scale(ratio, ratio);
  ctx.font = FONT;
  return { ctx, width, height, ratio };
}

function line(ctx, ...points) {
  ctx.beginPath();
  for (let i = 0; i < points.length; i += 2) ctx.lineTo(points[i], points[i + 1]);
  ctx.stroke();
}

const crisp = (place) => Math.round(place) + 0.5;

/** Writes labels below a line and leaves out those that would overlap. */
function labelAlong(ctx, labels, top, width) {
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  let free = 0;
  for (const [place, label] of labels) {
    const half = ctx.measureText(label).width / 2;
    line(ctx, crisp(place), top, crisp(place), top + 4);
    const centre = Math.max(half, Math.min(place, width - half));
    if (centre - half < free) continue;
    ctx.fillText(label, centre, top + 6);
    free = centre + half + 8;
  }
}

function drawAxes(ctx, box, width, x, y, xName, yName) {
  ctx.fillStyle = ctx.strokeStyle = ink.muted;
  labelAlong(ctx, x.labels, box.bottom, width);
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  for (const [place, label] of y.labels) {
    line(ctx, box.left - 4, crisp(place), box.left, crisp(place));
    ctx.fillText(label, box.left - 9, place);
  }
  ctx.fillStyle = ink.ink;
  ctx.textAlign = "center";
  ctx.textBaseline = "bottom";
  ctx.fillText(xName, Math.round((box.left + box.right) / 2), box.bottom + 38);
  ctx.save();
  ctx.translate(13, Math.round((box.top + box.bottom) / 2));
  ctx.rotate(-Math.PI / 2);
  ctx.fillText(yName, 0, 0);
  ctx.restore();
}

/** Returns the colours of the map and that of no value, as pixels of an image. */
function palette() {
  const opaque = 255 << 24;
  const pixel = (hex) => (opaque | parseInt(hex.slice(4, 6) + hex.slice(2, 4) + hex.slice(0, 2), 16)) >>> 0;
  const map = Array.from({ length: 256 }, (_, i) => pixel(data.colours.slice(6 * i, 6 * i + 6)));
  return { map, none: pixel(ink.void.slice(1)) };
}

function colour({ map, none }, number, limits) {
  if (!Number.isFinite(number)) return none;
  if (logarithmic && Math.abs(number) <= quantity().zero) return map[0];
  const part = share(number, limits);
  return Number.isNaN(part) ? none : map[Math.min(255, Math.max(0, Math.floor(256 * part)))];
}

function drawPlane(canvas, architecture, limits) {
  const { ctx, width, height, ratio } = prepare(canvas);
  const box = { left: 60, right: width - 8, top: 4, bottom: height - 42 };
  const [xAxis, yAxis] = [data.axes[data.x], data.axes[data.y]];
  const x = lay(xAxis, box.left, box.right);
  const y = lay(yAxis, box.bottom, box.top);
  const place = { ...at, architecture };
  const cells = y.spans.map((_, j) =>
    Float32Array.from(x.spans, (_, i) => mean(Object.assign(place, { [data.x]: i, [data.y]: j }))),
  );
  drawCells(ctx, ratio, box, x, y, cells, limits);
  quantity().levels.forEach((level, n, levels) => drawLevel(ctx, x, y, cells, level, n < levels.length - 1));
  drawAxes(ctx, box, width, x, y, xAxis.label, yAxis.label);
  drawMarker(ctx, box, y.centres[at[data.y]]);
  Object.assign(canvas, { box, hit: (left, top) => [x.find(left), y.find(top)] });
  const over = `${quantity().label} over ${xAxis.label} and ${yAxis.label}${where(data.x, data.y)}`;
  canvas.setAttribute("aria-label", `${data.axes.architecture.values[architecture]}: ${over}`);
}

/** Colours the pixels, each by the cell that its centre is in: no seams, whatever the sizes of cells. */
function drawCells(ctx, ratio, box, x, y, cells, limits) {
  const colours = palette();
  const rows = cells.map((row) => Uint32Array.from(row, (number) => colour(colours, number, limits)));
  const image = ctx.createImageData(
    Math.round((box.right - box.left) * ratio),
    Math.round((box.bottom - box.top) * ratio),
  );
  const pixels = new Uint32Array(image.data.buffer);
  const across = Int32Array.from({ length: image.width }, (_, p) => x.find(box.left + (p + 0.5) / ratio));
  for (let q = 0; q < image.height; q++) {
    const row = rows[y.find(box.top + (q + 0.5) / ratio)];
    for (let p = 0; row && p < image.width; p++) {
      if (across[p] >= 0) pixels[q * image.width + p] = row[across[p]];
    }
  }
  ctx.putImageData(image, Math.round(box.left * ratio), Math.round(box.top * ratio));
}

/** Draws the borders between cells on both sides of a level: light with a dark rim, to show on any colour. */
function drawLevel(ctx, x, y, cells, level, dashed) {
  const path = new Path2D();
  const move = (across, up) => {
    path.moveTo(across, up);
    levelsDrawn.add(level);
  };
  const differ = (a, b) => a < level !== b < level && !Number.isNaN(a) && !Number.isNaN(b);
  y.spans.forEach(([bottom, top], j) => {
    x.spans.forEach(([left, right], i) => {
      if (i + 1 < x.spans.length && differ(cells[j][i], cells[j][i + 1])) {
        move(right, bottom);
        path.lineTo(right, top);
      }
      if (j + 1 < y.spans.length && differ(cells[j][i], cells[j + 1][i])) {
        move(left, top);
        path.lineTo(right, top);
      }
    });
  });
  ctx.save();
  for (const [width, style] of [[3, "#00000080"], [1.5, "#ffffff"]]) {
    ctx.lineWidth = width;
    ctx.strokeStyle = dashed ? stripes(ctx, style) : style;
    ctx.stroke(path);
  }
  ctx.restore();
}

/** Returns diagonal stripes: in them a line of short pieces is dashed, where dashes would start with each. */
function stripes(ctx, style) {
  const tile = element("canvas", { width: 8, height: 8 });
  const on = tile.getContext("2d");
  on.fillStyle = style;
  for (let p = 0; p < 8; p++) for (let q = 0; q < 8; q++) if ((p + q) % 8 < 5) on.fillRect(p, q, 1, 1);
  return ctx.createPattern(tile, "repeat");
}

function drawMarker(ctx, box, height) {
  ctx.save();
  for (const [width, style] of [[3, "#00000080"], [1.2, "#ffffff"]]) {
    ctx.lineWidth = width;
    ctx.strokeStyle = style;
    line(ctx, box.left, crisp(height), box.right, crisp(height));
  }
  ctx.fillStyle = ink.accent;
  for (const [edge, out] of [[box.left, -7], [box.right, 7]]) {
    ctx.beginPath();
    for (const [dx, dy] of [[0, 0], [out, -5], [out, 5]]) ctx.lineTo(edge + dx, crisp(height) + dy);
    ctx.fill();
  }
  ctx.restore();
}

function drawBar(canvas, limits) {
  const { ctx, width, ratio } = prepare(canvas);
  const [left, right, top, thick] = [2, width - 2, 20, 14];
  for (let p = 0; p < (right - left) * ratio; p++) {
    const index = Math.min(255, Math.floor((256 * p) / ((right - left) * ratio)));
    ctx.fillStyle = `#${data.colours.slice(6 * index, 6 * index + 6)}`;
    ctx.fillRect(left + p / ratio, top, 1.5 / ratio, thick);
  }
  ctx.fillStyle = ink.ink;
  ctx.textBaseline = "top";
  ctx.fillText(quantity().label, left, 2);
  ctx.fillStyle = ctx.strokeStyle = ink.muted;
  const marks = ticks(...limits, logarithmic, width / 60);
  const labels = marks.map((number) => [left + share(number, limits) * (right - left), text(number, 4)]);
  labelAlong(ctx, labels, top + thick, width);
  const ends = limits.map((number) => text(number)).join(" to ");
  canvas.setAttribute("aria-label", `colours: ${quantity().label} from ${ends}`);
}

const look = (index) => ({
  stroke: data.lines[index % data.lines.length],
  dash: DASHES[Math.floor(index / data.lines.length) % DASHES.length],
});

function drawProfile(canvas) {
  const { ctx, width, height } = prepare(canvas);
  const box = { left: 66, right: width - 8, top: 8, bottom: height - 42 };
  const x = lay(data.axes[data.x], box.left, box.right);
  const limits = heights();
  const rise = (number) => box.bottom - share(number, limits) * (box.bottom - box.top);
  const marks = ticks(...limits, logarithmic, (box.bottom - box.top) / 40);
  const y = { labels: marks.map((number) => [rise(number), text(number, 4)]) };
  ctx.strokeStyle = ink.line;
  for (const [place] of y.labels) line(ctx, box.left, crisp(place), box.right, crisp(place));
  drawAxes(ctx, box, width, x, y, data.axes[data.x].label, quantity().label);
  ctx.beginPath();
  ctx.rect(box.left - 4, box.top - 4, box.right - box.left + 8, box.bottom - box.top + 4);
  ctx.clip();
  drawThresholds(ctx, box, rise);
  const shapes = data.axes.architecture.values.map((_, index) => index);
  if (data.bands) for (const index of shapes) drawBand(ctx, x, index, rise, box.bottom);
  for (const index of shapes) drawLine(ctx, x, index, rise);
  Object.assign(canvas, { box, hit: (left) => [x.find(left)] });
}

/** Returns the range of heights: of means and bands, with a margin. */
function heights() {
  const spread = (place) => std(place) || 0;
  const [low, high] = range([data.x], (p) => mean(p) - spread(p), (p) => mean(p) + spread(p));
  if (logarithmic && low > 0) return [low, high];
  const margin = 0.04 * (high - low) || 0.5 * Math.abs(high) || 1;
  return [low - margin, high + margin];
}

function drawThresholds(ctx, box, rise) {
  ctx.strokeStyle = ink.muted;
  quantity().levels.forEach((level, n, levels) => {
    ctx.setLineDash(n < levels.length - 1 ? [4, 3] : []);
    const height = rise(level);
    if (!(height >= box.top && height <= box.bottom)) return;
    line(ctx, box.left, crisp(height), box.right, crisp(height));
    levelsDrawn.add(level);
  });
  ctx.setLineDash([]);
}

const along = (x, architecture, use) => x.centres.map((_, i) => use({ ...at, architecture, [data.x]: i }));

/** Returns indices along an axis in runs: next to each other, on the axis proper, and with a height. */
function runs(x, places) {
  const lists = [[]];
  places.forEach((place, i) => {
    if (x.isolated.has(i) || !Number.isFinite(place)) lists.push([]);
    if (Number.isFinite(place)) lists.at(-1).push(i);
    if (x.isolated.has(i)) lists.push([]);
  });
  return lists.filter((run) => run.length);
}

function drawLine(ctx, x, index, rise) {
  const { stroke, dash } = look(index);
  ctx.strokeStyle = ctx.fillStyle = stroke;
  ctx.setLineDash(dash);
  ctx.lineWidth = 2;
  const places = along(x, index, (place) => rise(mean(place)));
  for (const run of runs(x, places)) {
    if (run.length > 1) {
      line(ctx, ...run.flatMap((i) => [x.centres[i], places[i]]));
    } else {
      ctx.beginPath();
      ctx.arc(x.centres[run[0]], places[run[0]], 3, 0, 2 * Math.PI);
      ctx.fill();
    }
  }
}

function drawBand(ctx, x, index, rise, bottom) {
  const upper = along(x, index, (place) => rise(mean(place) + std(place)));
  const lower = along(x, index, (place) => rise(mean(place) - std(place)));
  ctx.fillStyle = look(index).stroke;
  ctx.globalAlpha = 0.18;
  for (const run of runs(x, upper)) {
    const half = run.length > 1 ? 0 : 4; // the width of a single one
    const [first, last] = [x.centres[run[0]] - half, x.centres[run.at(-1)] + half];
    const floor = (i) => (Number.isFinite(lower[i]) ? lower[i] : bottom); // below all, on a logarithmic scale
    ctx.beginPath();
    ctx.lineTo(first, upper[run[0]]);
    for (const i of run) ctx.lineTo(x.centres[i], upper[i]);
    ctx.lineTo(last, upper[run.at(-1)]);
    ctx.lineTo(last, floor(run.at(-1)));
    for (const i of [...run].reverse()) ctx.lineTo(x.centres[i], floor(i));
    ctx.lineTo(first, floor(run[0]));
    ctx.fill();
  }
  ctx.globalAlpha = 1;
}
