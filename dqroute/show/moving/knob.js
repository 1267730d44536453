// The knob: a prior divided out as far as the reader says, in a world of the reader's choice. Formulas as in knob.py.
const knob = {
  // Log-probabilities, N times C, of bytes.
  logP(bytes, fine, C) {
    const found = Float32Array.from(bytes, (byte) => -((byte / fine) ** 2));
    for (let i = 0; i < found.length; i += C) {
      let sum = 0;
      for (let c = 0; c < C; c++) sum += Math.exp(found[i + c]);
      const norm = Math.log(sum);
      for (let c = 0; c < C; c++) found[i + c] -= norm;
    }
    return found;
  },

  // How common each class is in a world, of those that have pictures, and the pictures drawn for it.
  world({ place, imbalance, labels }, world) {
    const counts = new Float64Array(place.length);
    for (const y of labels) counts[y] += 1;
    const tilt = (world * Math.log(imbalance)) / Math.max(1, place.length - 1);
    const top = Math.max(0, tilt * (place.length - 1));
    const ratio = Float64Array.from(place, (rank) => Math.exp(tilt * rank - top));
    const sum = ratio.reduce((total, value, c) => total + (counts[c] ? value : 0), 0);
    const share = ratio.map((value, c) => (counts[c] ? value / sum : 0));
    const seen = new Float64Array(place.length);
    const drawn = [];
    labels.forEach((y, i) => {
      if (seen[y]++ < Math.max(1, Math.round(counts[y] * ratio[y]))) drawn.push(i);
    });
    return { share, counts, drawn };
  },

  // The classes that can be a picture's answer at all, { of, logP } a picture: a class is none that has a rival in its
  // own ring with a score no lower at both ends of τ, and so between them.
  candidates(logP, { logPi, rings, taus }) {
    const C = logPi.length;
    const [low, high] = [taus[0], taus.at(-1)].map((tau) => Float64Array.from(logPi, (value) => (1 - tau) * value));
    return Array.from({ length: logP.length / C }, (_, i) => {
      const row = logP.subarray(i * C, (i + 1) * C);
      const most = {};
      const order = [...row.keys()].sort((a, b) => row[b] + low[b] - row[a] - low[a]);
      const of = order.filter((c) => {
        const score = row[c] + high[c];
        return score > (most[rings[c]] ?? -Infinity) && ((most[rings[c]] = score), true);
      });
      return { of, logP: of.map((c) => row[c]) };
    });
  },

  // The answer to each picture at τ, with a shift for each ring.
  answers(candidates, { logPi, rings }, tau, shift) {
    const add = Float64Array.from(logPi, (value, c) => shift[rings[c]] - (tau - 1) * value);
    return Int32Array.from(candidates, ({ of, logP }) => {
      let [best, most] = [of[0], -Infinity];
      for (let k = 0; k < of.length; k++) {
        const score = logP[k] + add[of[k]];
        if (score > most) [best, most] = [of[k], score];
      }
      return best;
    });
  },

  // The accuracy of each class, 0 to 1.
  byClass(answers, labels, counts) {
    const right = new Float64Array(counts.length);
    answers.forEach((answer, i) => (right[labels[i]] += answer === labels[i]));
    return right.map((hits, c) => (counts[c] ? hits / counts[c] : 0));
  },

  // Their mean by the shares of the classes, of a ring's or, without one, of all.
  mean(accuracy, share, rings, ring) {
    let [sum, all] = [0, 0];
    share.forEach((value, c) => {
      if (ring !== undefined && rings[c] !== ring) return;
      sum += value * accuracy[c];
      all += value;
    });
    return all ? sum / all : NaN;
  },

  // How probable the rings are for each picture, beside the balanced shares q of the rings: p(R_j | x_i) / q_j.
  ringRatios(logP, rings, groups) {
    const q = Array(groups).fill(0);
    for (const ring of rings) q[ring] += 1 / rings.length;
    const ratios = Array.from({ length: logP.length / rings.length }, (_, i) => {
      const mass = Array(groups).fill(0);
      rings.forEach((ring, c) => (mass[ring] += Math.exp(logP[i * rings.length + c])));
      return mass.map((value, j) => (q[j] ? value / q[j] : 0));
    });
    return { q, ratios };
  },

  // Shares of the rings in unlabelled pictures, by expectation-maximisation: π_j ← (Σ_i p'_ij + q_j) / (N + 1), with
  // p'_ij ∝ p(R_j | x_i) π_j / q_j, from the balanced shares q; and the shifts that make of it, log π_j / q_j.
  ringShares({ q, ratios }, drawn) {
    const [masses, groups] = [drawn.map((i) => ratios[i]), q.length];
    let share = [...q];
    for (let step = 0; step < 1000; step++) {
      const sum = [...q];
      for (const mass of masses) {
        let all = 0;
        for (let j = 0; j < groups; j++) all += mass[j] * share[j];
        for (let j = 0; j < groups; j++) sum[j] += (mass[j] * share[j]) / all;
      }
      const next = sum.map((value) => value / (masses.length + 1));
      const moved = Math.max(...next.map((value, j) => Math.abs(value - share[j])));
      share = next;
      if (moved < 1e-7) break;
    }
    return { share, shift: share.map((value, j) => (q[j] ? Math.log(value / q[j]) : 0)) };
  },

  // Where a curve is highest. Settings count by how near they come to the top, so that it glides where the top is flat.
  top(taus, heights) {
    const most = Math.max(...heights);
    const near = heights.map((height) => Math.exp((height - most) / 0.003));
    return near.reduce((sum, value, t) => sum + value * taus[t], 0) / near.reduce((sum, value) => sum + value, 0);
  },

  // The height of a curve between its points.
  at(taus, heights, tau) {
    const t = Math.max(1, taus.findIndex((value) => value >= tau));
    const part = (tau - taus[t - 1]) / (taus[t] - taus[t - 1]);
    return heights[t - 1] + part * (heights[t] - heights[t - 1]);
  },
};

const knobStyle = `
.dq-knob { max-width: 44rem; }
.dq-knob p { margin: 0.4rem 0; outline: none; }
.dq-knob .dq-toggle input { margin: 0; }
.dq-knob .dq-controls { grid-template-columns: 8.5rem minmax(6rem, 1fr) 7.5rem; margin: 0.2rem 0; }
.dq-knob-ask { border: 1px solid var(--dq-grid); border-radius: 0.4rem; padding: 0.5rem 0.9rem; margin-bottom: 1rem; }
.dq-knob-two { display: grid; grid-template-columns: 3fr 2fr; gap: 1.5rem; align-items: center; margin: 0.8rem 0 0.4rem; }
.dq-knob-bars { display: grid; grid-template-columns: max-content 1fr 3.6rem; gap: 0.55rem 0.6rem; align-items: center; }
.dq-knob-bars strong { grid-column: 1 / -1; }
.dq-knob-bar { position: relative; height: 1.1rem; background: var(--dq-grid); }
.dq-knob-bar * { position: absolute; top: 0; bottom: 0; left: 0; }
.dq-knob-bar .dq-knob-was { width: 2px; top: -3px; bottom: -3px; background: var(--dq-ink); }
.dq-knob-number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.dq-knob small, .dq-knob-quiet { color: var(--dq-quiet); }
.dq-knob-press { display: flex; flex-wrap: wrap; gap: 0.5rem 0.75rem; margin: 0.6rem 0; }
.dq-knob .dq-status { min-height: 5.8em; }
.dq-knob-cards { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 0.5rem; }
.dq-knob-card { transition: background-color 0.25s; border: 1px solid var(--dq-grid); border-left: 4px solid; border-radius: 0.25rem; padding: 0.25rem 0.6rem 0.35rem; }
.dq-knob-card small, .dq-knob-card span { display: block; overflow-wrap: anywhere; }
.dq-knob-card span { font-weight: 600; color: var(--dq-quiet); }
.dq-knob-card[data-right] span { color: var(--dq-ink); }
.dq-knob-card[data-right] { background: color-mix(in srgb, var(--dq-medium) 14%, transparent); }
@media (max-width: 480px) {
  .dq-knob .dq-controls { grid-template-columns: 1fr; }
  .dq-knob-two { grid-template-columns: 1fr; gap: 0.8rem; }
  .dq-knob-cards { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}`;

dqMoving.knob = (root, data) => {
  const { labels, rings, taus, groups, names, imbalance } = data;
  const C = rings.length;
  const heads = data.heads.map(({ name, bytes }) => {
    const logP = knob.logP(bytes, data.fine, C);
    const rest = { candidates: knob.candidates(logP, data), ...knob.ringRatios(logP, rings, groups.length) };
    return { name, ...rest, shift: groups.map(() => 0) };
  });
  const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
  const [low, high] = [taus[0], taus.at(-1)];
  const state = { world: 0, head: heads.length - 1, tau: 1, guess: null, found: false };
  const worldWords = (w) => {
    const factor = imbalance ** Math.abs(w);
    return factor < 1.05 ? "balanced" : `${w < 0 ? "forward" : "backward"} ${factor < 9.95 ? factor.toFixed(1) : Math.round(factor)}×`;
  };
  let [there, stop] = [knob.world(data, 0), () => {}];

  dq.add(root, "style", {}, knobStyle);
  const box = dq.add(root, "div", { class: "dq-knob" });

  // First a prediction; until it is made, the world stands still.
  const ask = dq.add(box, "div", { class: "dq-knob-ask" });
  const question = `Before you turn anything: at τ = 0 the prior of the training set stays in, at τ = 1 it is divided out, which suits a balanced world. Turn the world round, so that the rarest class is ${imbalance} times as common as the most frequent. Which τ is best there?`;
  dq.add(ask, "p", {}, question);
  const tauWords = (value) => value.toFixed(2);
  const guess = dq.slider(dq.controls(ask), { label: "your mark", min: low, max: high, step: 0.05, value: 1, format: tauWords, input: () => chart.redraw() });
  dq.button(ask, "Set the mark", () => {
    state.guess = guess.value;
    for (const element of [worldSlider.element, detect]) element.disabled = false;
    const { share } = knob.world(data, 1);
    const heights = unturned().map((accuracy) => knob.mean(accuracy, share));
    const best = knob.top(taus, heights);
    const [yours, most] = [state.guess, best].map((tau) => percent(knob.at(taus, heights, tau)));
    const answer = `You marked τ = ${tauWords(state.guess)} for the world turned round: there ${heads[state.head].name} would be right on ${yours} of the pictures. Best is about τ = ${best.toFixed(1)}, with ${most}.`;
    ask.replaceChildren();
    dq.add(ask, "p", { tabindex: -1 }, answer).focus({ preventScroll: true });
    move(1, 1600);
  });

  const strip = dq.surface(box, { label: "", height: 84, draw: drawWorld });
  const worldSlider = dq.slider(dq.controls(box), { label: "test world", min: -1, max: 1, step: 0.01, value: 0, format: worldWords, input: (w) => (stop(), setWorld(w)) });
  const two = dq.add(box, "div", { class: "dq-knob-two" });
  const chart = dq.surface(dq.add(two, "div"), { label: "", height: 250, draw: drawChart });
  chart.canvas.style.cursor = "ew-resize";
  const bars = dq.add(two, "div", { class: "dq-knob-bars" });
  dq.add(bars, "strong", {}, "at your setting");
  const rows = ["overall", ...groups].map((name) => {
    dq.add(bars, "span", {}, name);
    const bar = dq.add(bars, "div", { class: "dq-knob-bar" });
    const fill = dq.add(bar, "div", { style: `background: var(--dq-${name === "overall" ? "accent" : name})` });
    const was = dq.add(bar, "div", { class: "dq-knob-was" });
    return { fill, was, number: dq.add(bars, "span", { class: "dq-knob-number" }) };
  });
  dq.add(bars, "small", { style: "grid-column: 1 / -1" }, "The line in each bar is τ = 1, no knob turned.");

  const controls = dq.controls(box);
  const who = dq.toggle(controls, { label: "Who looks:", options: heads.map(({ name }) => name), value: state.head, input: (k) => ((state.head = k), follow()) });
  who.element.hidden = heads.length < 2;
  const touch = (tau) => ((state.tau = tau), (state.found = false), show());
  const tauSlider = dq.slider(controls, { label: "τ", min: low, max: high, step: 0.01, value: 1, format: tauWords, input: touch });
  const knobs = groups.map((name, j) =>
    dq.slider(controls, {
      label: `${name} classes`, min: -4, max: 4, step: 0.01, value: 0,
      format: (value) => `× ${Math.exp(value).toFixed(value > 2.25 ? 0 : value < -0.7 ? 2 : 1)}`,
      input: (value) => {
        for (const head of heads) head.shift = head.shift.map((old, k) => (k === j ? value : knobs[k].value));
        touch(state.tau);
      },
    }),
  );
  const press = dq.add(box, "div", { class: "dq-knob-press" });
  const detect = dq.button(press, "Let the detectors find it", () => {
    const from = [state.tau, ...knobs.map(({ value }) => value)];
    const to = [1, ...knob.ringShares(heads[state.head], there.drawn).shift];
    stop();
    stop = dq.glide(900, (t) => {
      if (t === 1) return (state.found = true), follow();
      const now = from.map((value, k) => value + t * (to[k] - value));
      state.tau = now[0];
      heads[state.head].shift = now.slice(1);
      show();
    });
  });
  const back = dq.button(press, "Back to τ = 1", () => {
    stop();
    for (const head of heads) head.shift = none;
    touch(1);
  });
  back.className = "dq-plain";
  for (const element of [worldSlider.element, detect]) element.disabled = true;
  const say = dq.status(box);
  dq.add(box, "p", { class: "dq-knob-quiet" }, "Pictures whose names hang on the setting: small, what each shows; bold, what it is called now.");
  const shelf = dq.add(box, "div", { class: "dq-knob-cards" });
  const cards = data.cards.map((i) => {
    const card = dq.add(shelf, "div", { class: "dq-knob-card", style: `border-left-color: var(--dq-${groups[rings[labels[i]]]})` });
    dq.add(card, "small", {}, names[labels[i]]);
    return { i, card, said: dq.add(card, "span") };
  });

  // Accuracies of a head's classes, by τ; a world only weighs them anew.
  const none = groups.map(() => 0);
  const turned = (head) => head.shift.some((value) => value);
  const accuracyAt = (head, tau, shift) => knob.byClass(knob.answers(head.candidates, data, tau, shift), labels, there.counts);
  const unturned = (head = heads[state.head]) => (head.unturned ||= taus.map((tau) => accuracyAt(head, tau, none)));
  const curve = (head) => {
    const key = head.shift.join();
    if (!turned(head)) head.byTau = unturned(head);
    else if (head.key !== key) head.byTau = taus.map((tau) => accuracyAt(head, tau, head.shift));
    head.key = key;
    return head.byTau.map((accuracy) => knob.mean(accuracy, there.share));
  };
  // In %, above what any world reaches while no knob is turned.
  const ends = [-1, 0, 1].map((w) => knob.world(data, w).share);
  const heights = () => heads.flatMap((head) => unturned(head).flatMap((some) => ends.map((share) => knob.mean(some, share))));
  let most = 0;
  const ceiling = () => (most ||= Math.min(100, 20 * Math.ceil(5 * Math.max(...heights()) + 0.5)));
  const plain = (head) => (head.plain ||= accuracyAt(head, 1, none));

  // Detectors that have found one world go on to the next.
  function follow() {
    if (state.found) {
      state.tau = 1;
      for (const head of heads) Object.assign(head, knob.ringShares(head, there.drawn));
    }
    show();
  }
  function setWorld(w) {
    state.world = w;
    there = knob.world(data, w);
    follow();
  }
  function move(to, milliseconds) {
    const from = state.world;
    stop();
    stop = dq.glide(milliseconds, (t) => ((worldSlider.value = from + t * (to - from)), setWorld(worldSlider.value)));
  }

  let drawn = {};
  function show() {
    const head = heads[state.head];
    tauSlider.value = state.tau;
    knobs.forEach((one, j) => (one.value = head.shift[j]));
    const answers = knob.answers(head.candidates, data, state.tau, head.shift);
    const accuracy = knob.byClass(answers, labels, there.counts);
    rows.forEach(({ fill, was, number }, k) => {
      const [now, before] = [accuracy, plain(head)].map((some) => knob.mean(some, there.share, rings, k ? k - 1 : undefined));
      fill.style.width = `${100 * now}%`;
      was.style.left = `calc(${100 * before}% - 1px)`;
      number.textContent = percent(now);
    });
    for (const { i, card, said } of cards) {
      const right = answers[i] === labels[i];
      said.textContent = `${right ? "✓" : "✗"} ${names[answers[i]]}`;
      card.toggleAttribute("data-right", right);
    }
    const curves = heads.map(curve);
    const best = knob.top(taus, curves[state.head]);
    drawn = { curves, best, top: knob.at(taus, curves[state.head], best), now: knob.mean(accuracy, there.share) };
    chart.redraw();
    chart.describe(`Accuracy of ${head.name} in this world against τ: ${percent(drawn.now)} at τ = ${tauWords(state.tau)}` + (state.guess === null ? "." : `, ${percent(drawn.top)} at the best, τ = ${best.toFixed(1)}.`));
    strip.redraw();
    const ringShare = groups.map((_, j) => there.share.reduce((sum, value, c) => sum + (rings[c] === j ? value : 0), 0));
    strip.describe(`Shares of the classes in this world: ${groups.map((name, j) => `${name} ${Math.round(100 * ringShare[j])} %`).join(", ")}.`);
    say(words(head, ringShare));
  }
  function words(head, ringShare) {
    if (state.guess === null) return "A balanced world. Set your mark, and it turns round.";
    const inWorld = `In this world (${worldWords(state.world)})`;
    if (!state.found) {
      const best = `${turned(head) ? "with these knobs the best τ" : "the best τ"}, ${drawn.best.toFixed(1)}, gives ${percent(drawn.top)}`;
      return `${inWorld} ${head.name} is right on ${percent(drawn.now)} of the pictures; ${best}.`;
    }
    const gains = [head, ...heads.filter((one) => one !== head)].map((one) => {
      const [before, after] = [plain(one), accuracyAt(one, 1, one.shift)].map((some) => percent(knob.mean(some, there.share)));
      return `${one.name} ${before} → ${after}`;
    });
    const list = (values) => groups.map((name, j) => `${Math.round(100 * values[j])}\u00a0% ${name}`).join(", ");
    const heights = unturned(head).map((some) => knob.mean(some, there.share));
    const hindsight = percent(knob.at(taus, heights, knob.top(taus, heights)));
    return `${inWorld}, from ${there.drawn.length} pictures and none of their labels, ${head.name} finds ${list(head.share)}; true are ${list(ringShare)}. Right before → after: ${gains.join("; ")}. Who knew the labels and chose the best τ would have ${hindsight}. Turn the world: the knobs follow.`;
  }

  function drawWorld(context, { width, height, colours }) {
    const [top, bottom] = [24, height - 18];
    const most = Math.max(...there.share);
    const each = width / C;
    context.fillStyle = colours.quiet;
    context.fillText("how common each class is in the test world", 0, 14);
    context.fillText("most in training", 0, height - 4);
    context.textAlign = "right";
    context.fillText("fewest", width, height - 4);
    there.share.forEach((share, c) => {
      const tall = ((bottom - top) * share) / most;
      context.fillStyle = colours[groups[rings[c]]];
      context.fillRect(data.place[c] * each, bottom - tall, Math.max(1, each - (each > 4 ? 1 : 0)), tall);
    });
  }

  function drawChart(context, { width, height, colours }) {
    const edge = { left: 30, top: 26, right: width - 10, bottom: height - 42 };
    const ticks = [...Array(Math.floor(high) + 1).keys()];
    const scale = dq.axes(
      context, edge,
      { from: low, to: high, ticks, label: "τ, how far the prior is divided out" },
      { from: 0, to: ceiling(), ticks: [0, 20, 40, 60, 80, 100].filter((tick) => tick <= ceiling()), label: "right in this world, %" },
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
    drawn.curves.forEach((curve, k) => k !== state.head && line(curve, colours.line, [5, 4]));
    line(drawn.curves[state.head], colours.ink, []);
    // Names, from the foot of the axes up: there no curve comes.
    context.font = dq.font(chart.canvas, 12);
    [state.head, ...heads.keys()].filter((k, at, all) => all.indexOf(k) === at).forEach((k, at) => {
      const y = edge.bottom - 30 + 17 * at;
      context.strokeStyle = k === state.head ? colours.ink : colours.line;
      context.setLineDash(k === state.head ? [] : [5, 4]);
      context.beginPath();
      context.moveTo(edge.left + 8, y);
      context.lineTo(edge.left + 30, y);
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = colours.quiet;
      context.fillText(heads[k].name, edge.left + 37, y + 4);
    });
    const write = (word, tau, y, colour) => {
      const x = scale.x(tau);
      const half = context.measureText(word).width / 2;
      context.textAlign = "center";
      context.fillStyle = colour;
      context.fillText(word, Math.min(Math.max(x, edge.left + half), edge.right - half), y);
    };
    // The mark was made for knobs that are not turned.
    if (!turned(heads[state.head])) {
      const tau = state.guess ?? guess.value;
      const foot = scale.y(100 * knob.at(taus, drawn.curves[state.head], tau));
      context.strokeStyle = colours.quiet;
      context.lineWidth = 1;
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(scale.x(tau), foot);
      context.lineTo(scale.x(tau), Math.min(foot + 45, edge.bottom));
      context.stroke();
      context.setLineDash([]);
      write("your mark", tau, Math.min(foot + 59, edge.bottom - 5), colours.quiet);
    }
    if (state.guess !== null) {
      write(`best ${drawn.best.toFixed(1)}`, drawn.best, scale.y(100 * drawn.top) - 13, colours.ink);
      dot(drawn.best, drawn.top, 6, colours.paper, colours.ink);
    }
    dot(state.tau, drawn.now, 5, colours.accent, colours.accent);
    chart.toTau = (x) => low + ((x - edge.left) / (edge.right - edge.left)) * (high - low);
  }

  // A pointer on the chart holds the reader's point.
  const hold = (event) => {
    if (!event.buttons) return;
    stop();
    touch(Math.min(high, Math.max(low, chart.toTau(chart.at(event)[0]))));
  };
  chart.canvas.addEventListener("pointerdown", (event) => (chart.canvas.setPointerCapture(event.pointerId), hold(event)));
  chart.canvas.addEventListener("pointermove", hold);
  show();
};
