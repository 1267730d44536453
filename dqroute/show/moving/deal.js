// A hundred characters by rarity and difficulty. The reader says how the two are related and trains a classifier on that
// world; the tiles rise and sink with what a tracker takes for difficult, and their colour is the error on test pictures.
dqMoving.deal = (root, data) => {
  const { names, counts, hardness, chance, epochs } = data;
  const classes = names.length;
  const JUDGES = ["on training images", "out of fold"];
  const dims = data.pool.shape[1];
  const TILE = 0.055; // its side, of the field's
  // Epochs that were trained on the world as it is dealt now, and whether more are to come.
  let [told, guessed, stop] = [[], null, null];

  const signed = (r) => `${r < 0 ? "−" : "+"}${Math.abs(r).toFixed(2)}`;
  const order = (values) => values.map((_, c) => c).sort((a, b) => values[a] - values[b]);

  const controls = dq.controls(root);
  const related = dq.slider(controls, {
    label: "correlation of rarity and difficulty", min: -1, max: 1, step: 0.01, value: 0, input: deal,
    format: (r) => (r ? signed(r) : "0"),
  });
  const guess = dq.slider(controls, {
    label: "your guess: it turns round at epoch",
    min: 1, max: epochs, step: 1, value: Math.ceil(epochs / 2), format: (epoch) => (guessed === null ? "?" : epoch),
    input: (epoch) => ((guess.value = guessed = epoch), (play.disabled = false)),
  });
  const judge = dq.toggle(controls, { label: "difficulty judged", options: JUDGES, input: () => (choose(), move(500)) });
  const when = dq.slider(controls, {
    label: "epoch", min: 0, max: epochs, step: 1, value: 0,
    input: (epoch) => (choose((when.value = Math.min(epoch, told.length))), move(200)),
  });
  const line = dq.add(root, "div", { class: "deal-line" });
  const play = dq.button(line, "train", () => (stop ? pause() : train()));
  play.disabled = true;
  const say = dq.status(dq.add(root, "div", { class: "deal-told" }));
  const table = dq.add(root, "div", { class: "deal-table" });
  const left = dq.add(table, "div");
  const right = dq.add(table, "div");
  const field = dq.surface(left, { label: "", height: (width) => width + 22, draw: drawField });
  const now = dq.add(right, "p", { class: "deal-now" }, "rank correlation of tracked difficulty with test error");
  const number = dq.add(now, "output");
  const chart = dq.surface(right, { label: "", height: 250, draw: drawChart });
  const look = dq.add(root, "div", { class: "deal-line" });
  const id = dq.id();
  dq.add(look, "label", { for: id }, "look at");
  const select = dq.add(look, "select", { id, autocomplete: "off", change: one });
  const which = dq.add(look, "p", { class: "deal-one" });
  const options = names.map((_, c) => dq.add(select, "option", { value: c }));

  // Of each class where its tile is, from 0 to 1 rightwards and upwards, and how strong its colour, 0 to 1.
  let tiles = names.map(() => [0.5, 0.5, 0]);
  let goals = tiles;
  let [count, rarity, error, stopGlide] = [[], [], [], () => {}];

  function deal() {
    pause();
    told = [];
    when.value = 0;
    const r = related.value;
    const place = Array.from(hardness, (d, c) => r * d + Math.sqrt(1 - r * r) * chance[c]);
    order(place).forEach((c, rank) => ([count[c], rarity[c]] = [counts[rank], rank]));
    options.forEach((option, c) => (option.textContent = `${names[c]}, ${count[c]} training images`));
    choose();
    move(250);
    say(play.disabled ? "Judged on training images, at which epoch will the ranking turn round? Guess, then train." : "");
  }

  const at = () => told[when.value - 1];

  // What is to be seen of the epoch and the judge that were chosen.
  function choose() {
    const epoch = at();
    const hard = epoch ? epoch.judged[judge.value] : hardness;
    error = epoch ? epoch.error : null;
    const [up, dark] = [ranks(hard), ranks(epoch ? epoch.error : hardness)];
    goals = apart(names.map((_, c) => [rarity[c], up[c], dark[c]].map((v) => v / (classes - 1))));
    number.textContent = epoch ? signed(correlation(hard, epoch.error)) : "?";
    const shown = epoch
      ? `after epoch ${epoch.epoch} by what is tracked as difficult, ${JUDGES[judge.value]}, in a stronger colour where more test pictures fail: rank correlation ${number.textContent}`
      : "by how difficult they are where nothing is rare";
    field.describe(`A hundred characters, from left to right the rarer, upwards ${shown}.`);
    one();
  }

  // Tiles that would lie on each other, moved apart a little, along the way that is shorter.
  function apart(places) {
    for (let round = 0; round < 40; round++) {
      places.forEach((one, c) =>
        places.slice(c + 1).forEach((other) => {
          const away = [0, 1].map((k) => other[k] - one[k]);
          const k = Math.abs(away[0]) > Math.abs(away[1]) ? 0 : 1;
          const lacks = (TILE - Math.abs(away[k])) / 4;
          if (lacks <= 0) return;
          const way = away[k] < 0 ? -lacks : lacks;
          one[k] = Math.min(1, Math.max(0, one[k] - way));
          other[k] = Math.min(1, Math.max(0, other[k] + way));
        }),
      );
    }
    return places;
  }

  function move(milliseconds) {
    stopGlide();
    const from = tiles.map((tile) => tile.slice());
    stopGlide = dq.glide(milliseconds, (t) => {
      tiles = goals.map((goal, c) => goal.map((v, k) => from[c][k] + t * (v - from[c][k])));
      field.redraw();
    });
    chart.redraw();
  }

  function train() {
    told = [];
    when.value = 0;
    choose();
    play.textContent = "stop";
    say("training …");
    const queue = [];
    const input = { pool: data.pool, test: data.test, dims, counts: Array.from(count), epochs };
    const close = dq.work(
      [...SOFTMAX, dealt],
      input,
      (epoch) => (epoch.error && !epoch.epoch ? (pause(), say(`It did not train: ${epoch.error}`)) : queue.push(epoch)),
    );
    // However fast it trains, an epoch is to be seen.
    const tick = setInterval(() => {
      if (!queue.length) return;
      told.push(queue.shift());
      when.value = told.length;
      choose();
      move(260);
      if (told.length === epochs) (pause(), say(conclusion()));
    }, 280);
    stop = () => (close(), clearInterval(tick));
  }

  function pause() {
    if (stop) (stop(), say(""));
    stop = null;
    play.textContent = "train";
  }

  function conclusion() {
    const { judged, error: wrong, right: hits } = told.at(-1);
    const [learned, honest] = judged.map((hard) => correlation(hard, wrong));
    const percent = (share) => `${Math.round(100 * share)} %`;
    const tested = 1 - wrong.reduce((sum, share) => sum + share, 0) / classes;
    const turned = told.find((epoch) => correlation(epoch.judged[0], epoch.error) < 0);
    const turn = turned
      ? `turned round at epoch ${turned.epoch}, with ${percent(turned.right[0])} of these images right; you said ${guessed}`
      : "never turned round";
    return (
      `Judged on training images the ranking ${turn}. In the end ${percent(hits[0])} of them are right and ` +
      `${percent(tested)} of test pictures, and the correlation is ${signed(learned)}; out of fold ${signed(honest)}.`
    );
  }

  function one() {
    const c = Number(select.value);
    const epoch = at();
    const rank = (values) => 1 + Math.floor(classes - 1 - ranks(values)[c]);
    which.textContent = epoch
      ? `${names[c]}: ${Math.round(100 * error[c])} % of test pictures wrong, rank ${rank(error)} of ${classes}; tracked as ` +
        `rank ${rank(epoch.judged[0])} on training images, ${rank(epoch.judged[1])} out of fold.`
      : `${names[c]}: rank ${rank(hardness)} of ${classes} in difficulty where nothing is rare, 1 the hardest.`;
    field.redraw();
  }

  const mix = (a, b, t) => {
    const [x, y] = [a, b].map((colour) => [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16)));
    return x.map((v, k) => v + t * (y[k] - v));
  };
  const bright = (rgb) => {
    const linear = rgb.map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };

  const box = (width, height) => ({ left: 12, right: width - 12, top: 26, bottom: height - 30 });
  function drawField(context, { width, height, colours }) {
    const { left, right: end, top, bottom } = box(width, height);
    const size = Math.max(15, Math.min(21, width / 20));
    context.strokeStyle = colours.grid;
    context.strokeRect(left - 11.5, top - 5.5, end - left + 23, bottom - top + 15);
    context.fillStyle = colours.quiet;
    const [high, colour] = at() ? ["tracked", "test errors"] : ["true", "the same"];
    context.fillText(`height: ${high} difficulty; colour: ${colour}`, left - 12, top - 12);
    context.textAlign = "right";
    context.fillText("rarer →", end + 12, bottom + 26);
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.font = dq.font(root, size * 0.72);
    const chosen = Number(select.value);
    const draw = (c) => {
      const [x, y, dark] = tiles[c];
      const [px, py] = [left + x * (end - left), bottom - y * (bottom - top)];
      const rgb = mix(colours.grid, colours.accent, dark);
      context.fillStyle = `rgb(${rgb.map(Math.round).join(" ")})`;
      context.beginPath();
      context.roundRect(px - size / 2, py - size / 2, size, size, 3);
      context.fill();
      context.strokeStyle = c === chosen ? colours.ink : colours.paper;
      context.lineWidth = c === chosen ? 2.5 : 1;
      context.stroke();
      context.fillStyle = bright(rgb) > 0.18 ? "#000000" : "#ffffff";
      context.fillText(names[c], px, py + 1);
    };
    names.forEach((_, c) => c !== chosen && draw(c));
    draw(chosen);
  }

  function drawChart(context, { width, height, colours }) {
    const frame = { left: 34, right: width - 10, top: 12, bottom: height - 44 };
    const across = { from: 0, to: epochs, ticks: [0, epochs / 2, epochs], label: "epoch" };
    const upwards = { from: -1, to: 1, ticks: [-1, -0.5, 0, 0.5, 1], format: (v) => (v ? signed(v).replace(/0$/, "") : "0") };
    const scale = dq.axes(context, frame, across, upwards, colours);
    dq.line(context, [[frame.left, scale.y(0)], [frame.right, scale.y(0)]], colours.line);
    const heights = [0, 1].map((j) => told.map((epoch) => correlation(epoch.judged[j], epoch.error)));
    const last = heights.map((all) => all.at(-1));
    [1 - judge.value, judge.value].forEach((j) => {
      const look = j === judge.value ? [colours.accent, 3] : [colours.quiet, 2];
      const points = heights[j].map((height, k) => [scale.x(told[k].epoch), scale.y(height)]);
      dq.line(context, points, ...look, j ? [] : [5, 4]);
    });
    if (told.length) {
      context.textAlign = "right";
      JUDGES.forEach((name, j) => {
        context.fillStyle = j === judge.value ? colours.accent : colours.quiet;
        const y = j ? frame.top + 8 : frame.bottom - 8;
        context.fillText(`${j ? "━" : "╍"} ${name} ${signed(last[j])}`, frame.right, y);
      });
      const height = heights[judge.value][when.value - 1];
      if (at()) dq.dot(context, [scale.x(when.value), scale.y(height)], 3, colours.ink);
    }
    const lines = told.length ? JUDGES.map((name, j) => `${name} ${signed(last[j])}`).join(", ") : "nothing is trained yet";
    chart.describe(`Rank correlation of tracked difficulty with test error, epoch by epoch: ${lines}.`);
  }

  const point = (event) => {
    const [x, y] = field.at(event);
    const { left, right: end, top, bottom } = box(field.canvas.clientWidth, field.canvas.clientHeight);
    const away = tiles.map(([a, b]) => Math.hypot(left + a * (end - left) - x, bottom - b * (bottom - top) - y));
    const nearest = away.indexOf(Math.min(...away));
    if (away[nearest] > 16) return;
    select.value = nearest;
    one();
  };
  field.canvas.addEventListener("pointermove", point);
  field.canvas.addEventListener("pointerdown", point);
  deal();
};
