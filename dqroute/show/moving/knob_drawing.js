// What the knob looks like.
const knobStyle = `
.dq-knob { max-width: 44rem; }
.dq-knob p { margin: 0.4rem 0; outline: none; }
.dq-knob .dq-toggle input { margin: 0; }
.dq-knob .dq-controls { grid-template-columns: 8.5rem minmax(6rem, 1fr) 7.5rem; margin: 0.2rem 0; }
.dq-knob-ask { border: 1px solid var(--dq-grid); border-radius: 0.4rem; padding: 0.5rem 0.9rem; margin-bottom: 1rem; }
.dq-knob-two {
  display: grid; grid-template-columns: 3fr 2fr; gap: 1.5rem; align-items: center; margin: 0.8rem 0 0.4rem;
}
.dq-knob-bars {
  display: grid; grid-template-columns: max-content 1fr 3.6rem; gap: 0.55rem 0.6rem; align-items: center;
}
.dq-knob-bars strong { grid-column: 1 / -1; }
.dq-knob-bar { position: relative; height: 1.1rem; background: var(--dq-grid); }
.dq-knob-bar * { position: absolute; top: 0; bottom: 0; left: 0; }
.dq-knob-bar .dq-knob-was { width: 2px; top: -3px; bottom: -3px; background: var(--dq-ink); }
.dq-knob-number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.dq-knob small, .dq-knob-quiet { color: var(--dq-quiet); }
.dq-knob small { font-size: 0.85em; }
.dq-knob-press { display: flex; flex-wrap: wrap; gap: 0.5rem 0.75rem; margin: 0.6rem 0; }
.dq-knob .dq-status { min-height: 5.8em; }
.dq-knob-cards { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 0.5rem; }
.dq-knob-card {
  transition: background-color 0.25s; border: 1px solid var(--dq-grid); border-left: 4px solid;
  border-radius: 0.25rem; padding: 0.25rem 0.6rem 0.35rem;
}
.dq-knob-card small, .dq-knob-card span { display: block; overflow-wrap: anywhere; }
.dq-knob-card span { font-weight: 600; color: var(--dq-quiet); }
.dq-knob-card[data-right] span { color: var(--dq-ink); }
.dq-knob-card[data-right] { background: color-mix(in srgb, var(--dq-medium) 14%, transparent); }
@media (max-width: 480px) {
  .dq-knob .dq-controls { grid-template-columns: 1fr; }
  .dq-knob-two { grid-template-columns: 1fr; gap: 0.8rem; }
  .dq-knob-cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}`;

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
  const line = (curve, colour, dash) => {
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.setLineDash(dash);
    context.beginPath();
    curve.forEach((height, t) => context.lineTo(scale.x(taus[t]), scale.y(100 * height)));
    context.stroke();
    context.setLineDash([]);
  };
  const dot = (tau, height, radius, fill, edge) => {
    context.beginPath();
    context.arc(scale.x(tau), scale.y(100 * height), radius, 0, 7);
    context.fillStyle = fill;
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = edge;
    context.stroke();
  };
  curves.forEach((curve, k) => k !== head && line(curve, colours.line, [5, 4]));
  line(curves[head], colours.ink, []);
  // Names, from the foot of the axes up: there no curve comes.
  [head, ...names.keys()]
    .filter((k, at, all) => all.indexOf(k) === at)
    .forEach((k, at) => {
      const y = edge.bottom - 30 + 17 * at;
      context.strokeStyle = k === head ? colours.ink : colours.line;
      context.setLineDash(k === head ? [] : [5, 4]);
      context.beginPath();
      context.moveTo(edge.left + 8, y);
      context.lineTo(edge.left + 30, y);
      context.stroke();
      context.setLineDash([]);
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
    const foot = scale.y(100 * knob.at(taus, curves[head], mark));
    context.strokeStyle = colours.quiet;
    context.lineWidth = 1;
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(scale.x(mark), foot);
    context.lineTo(scale.x(mark), Math.min(edge.top + 17, foot));
    context.stroke();
    context.setLineDash([]);
    write("your mark", mark, edge.top + 13, colours.quiet);
  }
  if (best) {
    write(`best ${best.tau.toFixed(1)}`, best.tau, scale.y(100 * best.height) - 13, colours.ink);
    dot(best.tau, best.height, 6, colours.paper, colours.ink);
  }
  dot(tau, now, 5, colours.accent, colours.accent);
  return (x) => low + ((x - edge.left) / (edge.right - edge.left)) * (high - low);
}
