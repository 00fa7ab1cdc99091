// Borders of regimes: smooth lines through the cells of a diagram, and room for the name of a regime.

/** Returns lines of places where `cells`, on the centres `xs` and `ys`, cross `level` (marching squares). */
function contour(xs, ys, cells, level) {
  const [places, links] = [new Map(), new Map()]; // of the crossings between two centres, by their keys
  const above = ([i, j]) => cells[j][i] >= level;
  const cross = ([i, j], [k, l]) => {
    const key = `${i} ${j} ${k} ${l}`;
    const part = (level - cells[j][i]) / (cells[l][k] - cells[j][i]);
    places.set(key, [xs[i] + part * (xs[k] - xs[i]), ys[j] + part * (ys[l] - ys[j])]);
    if (!links.has(key)) links.set(key, []);
    return key;
  };
  for (let j = 0; j + 1 < ys.length; j++) {
    for (let i = 0; i + 1 < xs.length; i++) {
      const [a, b, c, d] = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const corners = [a, b, c, d].map(([k, l]) => cells[l][k]);
      if (!corners.every(Number.isFinite)) continue;
      const crossed = [[a, b], [b, c], [d, c], [a, d]].filter(([p, q]) => above(p) !== above(q));
      const keys = crossed.map(([p, q]) => cross(p, q));
      const centre = corners.reduce((sum, number) => sum + number) / 4;
      if (keys.length === 4 && (centre >= level) !== above(a)) keys.unshift(keys.pop()); // a saddle
      for (let n = 0; n < keys.length; n += 2) {
        links.get(keys[n]).push(keys[n + 1]);
        links.get(keys[n + 1]).push(keys[n]);
      }
    }
  }
  const lines = [];
  const ends = [...links].sort(([, a], [, b]) => a.length - b.length); // lines that end come before rings
  for (const [start, { length }] of ends) {
    if (!links.has(start)) continue;
    const line = length > 1 ? [places.get(start)] : [];
    for (let key = start; key; ) {
      line.unshift(places.get(key));
      const next = links.get(key);
      links.delete(key);
      key = next.find((other) => links.has(other));
    }
    lines.push(line);
  }
  return lines;
}

/** Returns the place with the most room around it among the cells that are `inside`; null if it is little. */
function roomiest(x, y, inside) {
  const share = (axis, from, to) => (axis.spans[to][1] - axis.spans[from][0]) / (axis.outer[1] - axis.outer[0]);
  let [best, most] = [null, 0];
  for (let j = 0; j < y.spans.length; j++) {
    for (let i = 0, end; i < x.spans.length; i = end + 1) {
      for (end = i; end < x.spans.length && inside(end, j); ) end++;
      if (end === i) continue;
      const middle = (i + end - 1) >> 1;
      let [below, over] = [j, j];
      while (below > 0 && inside(middle, below - 1)) below--;
      while (over + 1 < y.spans.length && inside(middle, over + 1)) over++;
      const [width, height] = [share(x, i, end - 1), 2 * Math.min(share(y, below, j), share(y, j, over))];
      const room = width > 0.2 && height > 0.1 ? Math.min(width, 2 * height) : 0;
      if (room > most) [best, most] = [[x.centres[middle], y.centres[j]], room];
    }
  }
  return best;
}
