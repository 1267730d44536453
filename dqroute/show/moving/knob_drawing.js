// What is drawn of the knob.
// Shares of the classes, most frequent in training first.
function drawKnobWorld(context, { width, height, colours }, share, { place, rings, groups }) {
  const [top, bottom] = [24, height - 18];
  const most = Math.max(...share);
  const each = width / place.length;
  context.fillStyle = colours.quiet;
  context.fillText("how common each class is in the test world", 0, 14);
  context.fillText("most in training", 0, height - 4);
  context.textAlign = "right";
  context.fillText("fewest", width, height - 4);
  share.forEach((value, c) => {
    const tall = ((bottom - top) * value) / most;
    context.fillStyle = colours[groups[rings[c]]];
    context.fillRect(place[c] * each, bottom - tall, Math.max(1, each - (each > 4 ? 1 : 0)), tall);
  });
}

// Accuracy against τ, a line a head, the reader's point on the line of the one who looks, its best setting, if that may
// be known, and the reader's mark, if there is one. Gives the τ of a horizontal place.
function drawKnobChart(context, { width, height, colours }, view) {
  const { taus, curves, names, head, ceiling, mark, best, tau, now } = view;
  const [low, high] = [taus[0], taus.at(-1)];
  const edge = { left: 30, top: 26, right: width - 10, bottom: height - 42 };
  const ticks = [...Array(Math.floor(high) + 1).keys()];
  const scale = dq.axes(
    context,
    edge,
    { from: low, to: high, ticks, label: "τ, how far the prior is divided out" },
    {
      from: 0,
      to: ceiling,
      ticks: [0, 20, 40, 60, 80, 100].filter((tick) => tick <= ceiling),
      label: "right in this world, %",
    },
    colours,
  );
  const at = (tau, height) => [scale.x(tau), scale.y(100 * height)];
  const line = (curve, ...look) => dq.line(context, curve.map((height, t) => at(taus[t], height)), ...look);
  curves.forEach((curve, k) => k !== head && line(curve, colours.line, 2, [5, 4]));
  line(curves[head], colours.ink, 2);
  // Names, from the foot of the axes up: there no curve comes.
  [head, ...names.keys()]
    .filter((k, at, all) => all.indexOf(k) === at)
    .forEach((k, at) => {
      const y = edge.bottom - 30 + 17 * at;
      const look = k === head ? [colours.ink, 2] : [colours.line, 2, [5, 4]];
      dq.line(context, [[edge.left + 8, y], [edge.left + 30, y]], ...look);
      context.fillStyle = colours.quiet;
      context.fillText(names[k], edge.left + 37, y + 4);
    });
  const write = (word, tau, y, colour) => {
    const x = scale.x(tau);
    const half = context.measureText(word).width / 2;
    context.textAlign = "center";
    context.fillStyle = colour;
    context.fillText(word, Math.min(Math.max(x, edge.left + half), edge.right - half), y);
  };
  if (mark !== null) {
    const [x, foot] = at(mark, knob.at(taus, curves[head], mark));
    dq.line(context, [[x, foot], [x, Math.min(edge.top + 17, foot)]], colours.quiet, 1, [2, 3]);
    write("your mark", mark, edge.top + 13, colours.quiet);
  }
  if (best) {
    write(`best ${best.tau.toFixed(1)}`, best.tau, scale.y(100 * best.height) - 13, colours.ink);
    dq.dot(context, at(best.tau, best.height), 6, colours.paper, colours.ink);
  }
  dq.dot(context, at(tau, now), 5, colours.accent);
  return (x) => low + ((x - edge.left) / (edge.right - edge.left)) * (high - low);
}
