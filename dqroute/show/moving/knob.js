// The knob: a prior divided out as far as the reader says, in a world of the reader's choice. What it computes is in
// knob_formulas.js, what it looks like in knob_drawing.js.
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
    return factor < 1.05
      ? "balanced"
      : `${w < 0 ? "forward" : "backward"} ${factor < 9.95 ? factor.toFixed(1) : Math.round(factor)}×`;
  };
  let [there, stop] = [knob.world(data, 0), () => {}];

  const box = dq.add(root, "div", { class: "dq-knob" });

  // First a prediction; until it is made, the world stands still.
  const ask = dq.add(box, "div", { class: "dq-knob-ask" });
  const question = [
    "Before you turn anything: at τ = 0 the prior of the training set stays in, at τ = 1 it is divided out, which suits",
    `a balanced world. Turn the world round, so that the rarest class is ${imbalance} times as common as the most`,
    "frequent. Which τ is best there?",
  ].join(" ");
  dq.add(ask, "p", {}, question);
  const tauWords = (value) => value.toFixed(2);
  const guess = dq.slider(dq.controls(ask), {
    label: "your mark",
    min: low,
    max: high,
    step: 0.05,
    value: 1,
    format: tauWords,
    input: () => chart.redraw(),
  });
  dq.button(ask, "Set the mark", () => {
    state.guess = guess.value;
    for (const element of [worldSlider.element, detect]) element.disabled = false;
    const { share } = knob.world(data, 1);
    const heights = unturned().map((accuracy) => knob.mean(accuracy, share));
    const best = knob.top(taus, heights);
    const [yours, most] = [state.guess, best].map((tau) => percent(knob.at(taus, heights, tau)));
    const answer = [
      `You marked τ = ${tauWords(state.guess)} for the world turned round: there ${heads[state.head].name} would be`,
      `right on ${yours} of the pictures. Best is about τ = ${best.toFixed(1)}, with ${most}.`,
    ].join(" ");
    ask.replaceChildren();
    dq.add(ask, "p", { tabindex: -1 }, answer).focus({ preventScroll: true });
    move(1, 1600);
  });

  const strip = dq.surface(box, {
    label: "",
    height: 84,
    draw: (context, size) => drawKnobWorld(context, size, there.share, data),
  });
  const worldSlider = dq.slider(dq.controls(box), {
    label: "test world",
    min: -1,
    max: 1,
    step: 0.01,
    value: 0,
    format: worldWords,
    input: (w) => (stop(), setWorld(w)),
  });
  const two = dq.add(box, "div", { class: "dq-knob-two" });
  const chart = dq.surface(dq.add(two, "div"), { label: "", height: 250, draw: drawChart });
  let toTau = () => low;
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
  dq.add(bars, "small", { style: "grid-column: 1 / -1" }, "The line in each bar is τ = 1, as trained.");

  const controls = dq.controls(box);
  const who = dq.toggle(controls, {
    label: "Who looks:",
    options: heads.map(({ name }) => name),
    value: state.head,
    input: (k) => ((state.head = k), follow()),
  });
  who.element.hidden = heads.length < 2;
  const touch = (tau) => (stop(), (state.tau = tau), (state.found = false), show());
  const tauSlider = dq.slider(controls, {
    label: "τ",
    min: low,
    max: high,
    step: 0.01,
    value: 1,
    format: tauWords,
    input: touch,
  });
  const knobs = groups.map((name, j) =>
    dq.slider(controls, {
      label: `${name} classes`,
      min: -4,
      max: 4,
      step: 0.01,
      value: 0,
      format: (value) => `× ${Math.exp(value).toFixed(value > 2.25 ? 0 : value < -0.7 ? 2 : 1)}`,
      input: (value) => {
        for (const head of heads) head.shift = head.shift.map((_, k) => (k === j ? value : knobs[k].value));
        touch(state.tau);
      },
    }),
  );
  const press = dq.add(box, "div", { class: "dq-knob-press" });
  const detect = dq.button(press, "Let it guess the world from the pictures", () => {
    const from = [state.tau, ...knobs.map(({ value }) => value)];
    const to = [1, ...knob.ringShares(heads[state.head], there.drawn).shift];
    stop();
    stop = dq.glide(900, (t) => {
      if (t === 1) return ((state.found = true), follow());
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
  dq.add(
    box,
    "p",
    { class: "dq-knob-quiet" },
    "Pictures whose names hang on the setting: small, what each shows; bold, what it is called now.",
  );
  const shelf = dq.add(box, "div", { class: "dq-knob-cards" });
  const cards = data.cards.map((i) => {
    const card = dq.add(shelf, "div", {
      class: "dq-knob-card",
      style: `border-left-color: var(--dq-${groups[rings[labels[i]]]})`,
    });
    dq.add(card, "small", {}, names[labels[i]]);
    return { i, card, said: dq.add(card, "span") };
  });

  // Accuracies of a head's classes, by τ; a world only weighs them anew.
  const none = groups.map(() => 0);
  const turned = (head) => head.shift.some((value) => value);
  const accuracyAt = (head, tau, shift) =>
    knob.byClass(knob.answers(head.candidates, data, tau, shift), labels, there.counts);
  const unturned = (head = heads[state.head]) => (head.unturned ||= taus.map((tau) => accuracyAt(head, tau, none)));
  const curve = (head) => {
    const key = head.shift.join();
    if (!turned(head)) head.byTau = unturned(head);
    else if (head.key !== key) head.byTau = taus.map((tau) => accuracyAt(head, tau, head.shift));
    head.key = key;
    return head.byTau.map((accuracy) => knob.mean(accuracy, there.share));
  };
  const plain = (head) => unturned(head)[taus.indexOf(1)];
  // In %, above what any world reaches while no knob is turned.
  const reached = [-1, 0, 1].flatMap((w) => {
    const { share } = knob.world(data, w);
    return heads.flatMap((head) => unturned(head).map((some) => knob.mean(some, share)));
  });
  const ceiling = Math.min(100, 20 * Math.ceil(5 * Math.max(...reached) + 0.5));

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

  const list = (values) => groups.map((name, j) => `${Math.round(100 * values[j])}\u00a0% ${name}`).join(", ");
  let drawn = {};
  function show() {
    const head = heads[state.head];
    tauSlider.value = state.tau;
    knobs.forEach((one, j) => (one.value = head.shift[j]));
    const answers = knob.answers(head.candidates, data, state.tau, head.shift);
    const accuracy = knob.byClass(answers, labels, there.counts);
    rows.forEach(({ fill, was, number }, k) => {
      const [now, before] = [accuracy, plain(head)].map((some) =>
        knob.mean(some, there.share, rings, k ? k - 1 : undefined),
      );
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
    chart.describe(
      `Accuracy of ${head.name} in this world against τ: ${percent(drawn.now)} at τ = ${tauWords(state.tau)}` +
        (state.guess === null ? "." : `, ${percent(drawn.top)} at the best, τ = ${best.toFixed(1)}.`),
    );
    strip.redraw();
    const ringShare = groups.map((_, j) =>
      there.share.reduce((sum, value, c) => sum + (rings[c] === j ? value : 0), 0),
    );
    strip.describe(`Shares of the classes in this world: ${list(ringShare)}.`);
    say(words(head, ringShare));
  }
  function words(head, ringShare) {
    if (state.guess === null) return "A balanced world. Set your mark, and it turns round.";
    const inWorld = `In this world (${worldWords(state.world)})`;
    if (!state.found) {
      const best = `${turned(head) ? "with these knobs " : ""}the best τ, ${drawn.best.toFixed(1)}, gives ${percent(drawn.top)}`;
      return `${inWorld} ${head.name} is right on ${percent(drawn.now)} of the pictures; ${best}.`;
    }
    const gains = [head, ...heads.filter((one) => one !== head)].map((one) => {
      const [before, after] = [plain(one), accuracyAt(one, 1, one.shift)].map((some) =>
        percent(knob.mean(some, there.share)),
      );
      return `${one.name} ${before} → ${after}`;
    });
    const heights = unturned(head).map((some) => knob.mean(some, there.share));
    const hindsight = percent(knob.at(taus, heights, knob.top(taus, heights)));
    return [
      `${inWorld}, from ${there.drawn.length} pictures and none of their labels, ${head.name} finds`,
      `${list(head.share)}; true are ${list(ringShare)}. Right before → after: ${gains.join("; ")}.`,
      `Who knew the labels and chose the best τ would have ${hindsight}. Turn the world: the knobs follow.`,
    ].join(" ");
  }

  function drawChart(context, size) {
    // The mark was made for a world turned round, and knobs that are not.
    const elsewhere = state.guess !== null && state.world < 0.5;
    const mark = elsewhere || turned(heads[state.head]) ? null : (state.guess ?? guess.value);
    const best = state.guess !== null && { tau: drawn.best, height: drawn.top };
    const fixed = { taus, names: heads.map(({ name }) => name), ceiling };
    toTau = drawKnobChart(context, size, { ...state, ...drawn, ...fixed, mark, best });
  }

  // A pointer on the chart holds the reader's point.
  const hold = (event) => {
    if (!event.buttons) return;
    stop();
    touch(Math.min(high, Math.max(low, toTau(chart.at(event)[0]))));
  };
  chart.canvas.addEventListener(
    "pointerdown",
    (event) => (chart.canvas.setPointerCapture(event.pointerId), hold(event)),
  );
  chart.canvas.addEventListener("pointermove", hold);
  show();
};
