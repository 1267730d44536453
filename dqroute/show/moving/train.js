// Train it yourself: a classifier on the features of photographs, its bars by class and its point among the reader's.
// data: what `train` in train_worker.js takes, and { group, least, most } (the range of the imbalance).
dqMoving.train = (root, data) => {
  const groups = ["many", "medium", "few"];
  const shifts = Array.from({ length: 25 }, (_, k) => 1 - k / 8);
  const runs = [];
  let [bars, progress, guessed, stop, rest] = [null, "", null, null, () => {}];

  const mean = (values, keep = () => true) => {
    const kept = values.filter((_, c) => keep(c));
    return kept.reduce((sum, value) => sum + value, 0) / kept.length;
  };
  const ofGroup = (values, g) => mean(values, (c) => data.group[c] === g);
  const worst = (values) => mean([...values].sort((a, b) => a - b).slice(0, Math.ceil(values.length / 5)));
  const percent = (value) => `${Math.round(value)} %`;
  const tenth = (value) => String(Math.round(10 * value) / 10);

  // Controls.
  const controls = dq.controls(root);
  const turns = Math.log(data.most / data.least);
  const imbalance = dq.slider(controls, {
    label: "Imbalance",
    ...{ min: 0, max: 20, step: 1, value: 20, input: () => surface.redraw() },
    format: (k) => `${Math.round(data.least * Math.exp((turns * k) / 20))} : 1`,
  });
  const factor = () => Math.round(data.least * Math.exp((turns * imbalance.value) / 20));
  const tau = dq.slider(controls, { label: "Logit adjustment τ", min: 0, max: 2, step: 0.1, value: 0, format: tenth });
  const share = { min: 0, max: 1, step: 0.1, value: 0, format: tenth };
  const rarity = dq.slider(controls, { label: "Weight of rarity", ...share });
  const hard = dq.slider(controls, { label: "Weight of difficulty", ...share });
  const judge = dq.toggle(controls, { label: "Difficulty judged", options: ["on training images", "out of fold"] });
  const guess = dq.slider(controls, {
    label: "Your guess for the few",
    ...{ min: 0, max: 100, step: 1, value: 50, format: (value) => (guessed === null ? "?" : `${value} %`) },
    input: (value) => {
      guessed = value;
      guess.value = value;
      surface.redraw();
    },
  });
  const row = dq.add(root, "div", { class: "dq-row" });
  const button = dq.button(row, "Train", () => (stop ? halt("Stopped.") : start()));
  const clear = dq.button(row, "Forget my points", () => {
    runs.length = 0;
    tell("");
    list();
    surface.redraw();
    button.focus();
  });
  clear.className = "dq-plain";
  const rarest = data.group.filter((g) => g === 2).length;
  const asked = `of 100 photographs of the ${rarest} rarest classes, the few, how many will be named right?`;
  const tell = dq.status(root, `First drag your guess: ${asked}`);

  // The pictures: bars beside the curve, or above it on a phone.
  const name = "A bar for each of a hundred classes, and overall accuracy against that of the few";
  const surface = dq.surface(root, {
    label: `${name}; nothing is trained yet.`,
    height: (width) => (width < 560 ? 610 : 330),
    draw(context, { width, height, colours }) {
      const slim = width < 560;
      const split = slim ? width : Math.round(width * 0.6);
      const left = { left: 34, right: split - (slim ? 4 : 28), top: 46, bottom: slim ? 250 : height - 44 };
      drawBars(context, left, colours);
      const side = { left: slim ? 34 : split + 34, right: width - 10, top: slim ? 346 : 46, bottom: height - 44 };
      drawCurve(context, side, colours);
    },
  });

  function drawBars(context, box, colours) {
    const at = [0, 25, 50, 75, 100];
    const counts = profile(data.starts[1], data.classes, factor());
    const label = `grey: training images, ${counts[0]} to ${counts.at(-1)}, not to scale`;
    const scale = dq.axes(
      context,
      box,
      { from: 0, to: data.classes, ticks: [], label },
      { from: 0, to: 100, ticks: at, label: progress || "test accuracy of each class, %" },
      colours,
    );
    const wide = (box.right - box.left) / data.classes;
    context.fillStyle = colours.grid;
    counts.forEach((n, c) => {
      const tall = (n / counts[0]) * (box.bottom - box.top);
      context.fillRect(scale.x(c), box.bottom - tall, wide + 0.5, tall);
    });
    groups.forEach((group, g) => {
      const members = data.group.flatMap((of, c) => (of === g ? [c] : []));
      const [from, to] = [scale.x(members[0]), scale.x(members.at(-1) + 1)];
      context.fillStyle = colours[group];
      for (const c of bars ? members : []) {
        context.fillRect(scale.x(c) + wide * 0.1, scale.y(bars[c]), wide * 0.8, box.bottom - scale.y(bars[c]));
      }
      context.fillRect(from + 1, box.bottom + 3, to - from - 2, 3);
      const all = bars ? ofGroup(bars, g) : null;
      const level = (height) => [from, to].map((x) => [x, scale.y(height)]);
      if (bars) dq.line(context, level(all), colours.ink, 1.5);
      context.textAlign = "center";
      context.fillStyle = colours.ink;
      // Above the bars, where nothing is in the way.
      context.fillText(bars ? `${group} ${Math.round(all)}` : group, (from + to) / 2, box.top - 26);
      if (g === 2 && guessed !== null) dq.line(context, level(guessed), colours.accent, 2, [4, 3]);
    });
  }

  function drawCurve(context, box, colours) {
    const axis = { from: 0, to: 80, ticks: [0, 20, 40, 60, 80] };
    const y = { from: 20, to: 70, ticks: [20, 30, 40, 50, 60, 70], label: "overall, %" };
    const scale = dq.axes(context, box, { ...axis, label: "few, %" }, y, colours);
    const within = ([few, overall]) => overall >= y.from && few <= axis.to;
    runs.forEach((run, k) => {
      const last = k === runs.length - 1;
      const points = run.curve.filter(within).map(([few, overall]) => [scale.x(few), scale.y(overall)]);
      dq.line(context, points, ...(last ? [colours.accent, 2] : [colours.line, 1]));
    });
    if (guessed !== null) {
      const at = scale.x(Math.min(guessed, axis.to));
      dq.line(context, [[at, box.top], [at, box.bottom]], colours.accent, 1, [4, 3]);
      context.textAlign = guessed > 50 ? "right" : "left";
      context.fillStyle = colours.accent;
      context.fillText("your guess", at + (guessed > 50 ? -6 : 6), box.bottom - 10);
    }
    context.textAlign = "center";
    context.textBaseline = "middle";
    runs.forEach((run, k) => {
      const [px, py] = [scale.x(run.few), scale.y(Math.max(y.from, run.overall))];
      const last = k === runs.length - 1;
      const [fill, edge] = last ? [colours.accent, colours.accent] : [colours.paper, colours.quiet];
      dq.dot(context, [px, py], 9, fill, edge, 1.5);
      context.fillStyle = last ? colours.paper : colours.ink;
      context.fillText(String(k + 1), px, py + 0.5);
    });
    context.textBaseline = "alphabetic";
  }

  // The reader's runs, in words.
  const table = dq.add(root, "table", { class: "dq-table" });
  function list() {
    table.replaceChildren();
    table.hidden = clear.hidden = !runs.length;
    dq.add(table, "caption", {}, "Your points, accuracy in %");
    const head = dq.add(dq.add(table, "thead"), "tr");
    dq.add(head, "td");
    for (const title of ["settings", "overall", "few", "worst fifth"]) dq.add(head, "th", { scope: "col" }, title);
    const body = dq.add(table, "tbody");
    runs.forEach((run, k) => {
      const cells = dq.add(body, "tr");
      dq.add(cells, "th", { scope: "row" }, String(k + 1));
      const numbers = [run.overall, run.few, run.worst].map((value) => value.toFixed(1));
      for (const text of [run.settings, ...numbers]) dq.add(cells, "td", {}, text);
    });
  }
  list();

  function settings() {
    const parts = [`imbalance ${factor()}`];
    if (tau.value) parts.push(`τ ${tenth(tau.value)}`);
    if (rarity.value) parts.push(`rarity ${tenth(rarity.value)}`);
    if (hard.value) parts.push(`difficulty ${tenth(hard.value)} ${judge.value ? "out of fold" : "on training images"}`);
    return parts.join(", ");
  }

  function halt(words) {
    stop?.();
    [stop, progress] = [null, ""];
    button.textContent = "Train";
    tell(words);
    surface.redraw();
  }

  function start() {
    const told = settings();
    const { group, least, most, ...page } = data;
    const set = { imbalance: factor(), tau: tau.value, rarity: rarity.value, gamma: 2 * hard.value };
    const input = { ...page, ...set, folds: hard.value && judge.value ? data.folds : 0, shifts };
    button.textContent = "Stop";
    bars = new Array(data.classes).fill(0);
    tell(`Training: ${told}.`);
    stop = dq.work(TRAINER, input, (news) => {
      if (news.error) return halt(`Training failed: ${news.error}`);
      progress = news.done ? "" : `training, epoch ${news.epoch} of ${data.epochs}`;
      rise(news.accuracy);
      if (news.done) end(told, news);
    });
  }

  function rise(accuracy) {
    rest();
    const before = bars;
    rest = dq.glide(250, (t) => {
      bars = accuracy.map((value, c) => before[c] + t * (value - before[c]));
      surface.redraw();
    });
  }

  function end(told, { accuracy, curve, hard: judged }) {
    const [overall, few] = [mean(accuracy), ofGroup(accuracy, 2)];
    const along = curve.map((values) => [ofGroup(values, 2), mean(values)]);
    runs.push({ settings: told, overall, few, worst: worst(accuracy), curve: along });
    list();
    const words = [`Right on ${percent(overall)} overall and ${percent(few)} of the few`];
    words.push(guessed === null ? "." : `; you said ${guessed} %.`);
    if (hard.value) {
      const rank = correlation(judged, accuracy.map((value) => 100 - value));
      words.push(` The ranks of judged difficulty and of true error agree by ${rank.toFixed(2)}.`);
    }
    const said = groups.map((group, g) => `${group} ${percent(ofGroup(accuracy, g))}`).join(", ");
    surface.describe(`${name}: ${said}; overall ${percent(overall)}.`);
    halt(words.join(""));
  }
};
