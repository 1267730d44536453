// Twenty pictures, three experts who disagree; the reader believes one. Beside the reader routers decide on the same.
dqMoving.router = (root, data) => {
  const ROUND = 20;
  const { pictures, names, spoken, routers, group, groups } = data;
  const quoted = (c) => (spoken[c] === names[c] ? names[c] : `${names[c]} (${spoken[c]})`);
  // Whose judgement lays a picture into the triangle; places are in the same order.
  const JUDGES = ["out of fold", "on training images"];
  let [round, turn, chosen] = [0, 0, null];
  // Of this round: the picture, and who was right: the reader, then the routers.
  let played = [];
  const current = () => pictures[(round * ROUND + turn) % pictures.length];

  const table = dq.add(root, "div", { class: "router-table" });
  const left = dq.add(table, "div");
  const right = dq.add(table, "div");
  const head = dq.add(left, "div", { class: "router-head" });
  const image = dq.add(head, "img", { alt: "" });
  const words = dq.add(head, "div");
  const count = dq.add(words, "p", { class: "router-count" });
  const say = dq.status(words);
  const holder = dq.add(left, "div", { class: "router-experts", role: "group", "aria-label": "the experts", tabindex: -1 });
  const experts = [0, 1, 2].map((k) => {
    const style = `--own: var(--dq-expert-${k + 1})`;
    const button = dq.add(holder, "button", { type: "button", class: "router-expert", style, "aria-keyshortcuts": k + 1 });
    button.addEventListener("click", () => believe(k));
    return button;
  });
  const next = dq.button(left, "next picture", () => {
    if (turn + 1 < ROUND) deal(turn + 1);
    else again();
    // The button is gone, and keys are to be heard on.
    holder.focus({ preventScroll: true });
  });
  next.classList.add("router-next");

  const thumbs = pictures.map((picture) => Object.assign(new Image(), { src: picture.image, onload: () => triangle.redraw() }));
  const triangle = dq.surface(right, { label: "", height: (width) => 0.87 * (width - 56) + 92, draw });
  dq.add(right, "p", { class: "router-small" }, "A picture stands above its point, framed by its shot group. A full point: you were right; a ring: wrong.");
  const judge = dq.toggle(right, { label: "placed by rings judged", options: JUDGES, input: () => moved(450) });
  const scores = dq.add(dq.add(root, "table", { class: "router-scores" }), "tbody");
  const lines = ["you", ...routers].map((name, k) => {
    const line = dq.add(scores, "tr");
    dq.add(line, "th", { scope: "row" }, name);
    const own = `--own: var(--dq-${k ? "quiet" : "accent"})`;
    const strip = dq.add(dq.add(line, "td", { "aria-hidden": "true" }), "div", { class: "router-strip", style: own });
    const cells = Array.from({ length: ROUND }, () => dq.add(strip, "i"));
    return { cells, score: dq.add(line, "td") };
  });
  const conclude = dq.status(root);

  root.addEventListener("keydown", (event) => {
    const k = ["1", "2", "3"].indexOf(event.key);
    if (k < 0 || chosen !== null || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    believe(k);
  });

  function deal(at) {
    [turn, chosen] = [at, null];
    const { says, sure, image: source } = current();
    image.src = source;
    image.alt = "a picture on which three experts disagree";
    count.textContent = `Picture ${turn + 1} of ${ROUND}`;
    say("Whom do you believe? Sometimes nobody is right. (Keys 1 to 3 work, too.)");
    experts.forEach((button, k) => {
      button.disabled = false;
      button.classList.remove("believed");
      button.replaceChildren();
      dq.add(button, "span", { class: "router-small" }, `expert ${k + 1}`);
      dq.add(button, "span", { class: `router-says${names[says[k]].length > 1 ? " word" : ""}` }, names[says[k]]);
      if (spoken[says[k]] !== names[says[k]]) dq.add(button, "span", { class: "router-small" }, spoken[says[k]]);
      dq.add(dq.add(button, "span", { class: "router-bar" }), "i", { style: `width: ${sure[k]}%` });
      dq.add(button, "span", { class: "router-mark" }, `${sure[k]} % sure`);
    });
    next.style.visibility = "hidden";
    tally();
  }

  function believe(k) {
    if (chosen !== null) return;
    chosen = k;
    const picture = current();
    const { says, truth, answers } = picture;
    const hits = [says[k], ...answers].map((answer) => answer === truth);
    hits.push(says.includes(truth));
    played.push({ at: pictures.indexOf(picture), hits });
    experts.forEach((button, j) => {
      button.disabled = true;
      button.classList.toggle("believed", j === k);
      button.querySelector(".router-mark").textContent = says[j] === truth ? "✓ right" : "✗ wrong";
    });
    const who = says.flatMap((answer, j) => (answer === truth ? [j + 1] : []));
    const knew = ["No expert is", `Expert ${who[0]} is`, `Experts ${who.join(" and ")} are`][Math.min(who.length, 2)];
    const which = routers.slice(0, -1).filter((_, j) => answers[j] === truth);
    const end = turn + 1 === ROUND;
    say(
      `It is ${quoted(truth)}, a ${groups[group[truth]]}-shot class. ${knew} right; of the routers ` +
        `${which.join("; ") || "none"}.`,
    );
    if (end) conclude(compared());
    next.textContent = end ? "twenty others" : "next picture";
    next.style.visibility = "visible";
    next.focus({ preventScroll: true });
    tally();
    moved(700, played.length - 1);
  }

  const sum = (line) => played.filter(({ hits }) => hits[line]).length;

  function compared() {
    const [you, mean, fooled, honest, any] = ["you", ...routers].map((_, line) => sum(line));
    const best = Math.max(mean, fooled, honest);
    const how = you > best ? "more than any router" : you === best ? "as many as the best router" : "fewer than the best router";
    const shares = data.shares.map((share) => Math.round(share));
    return (
      `You are right on ${you} of ${ROUND}, ${how}: the plain mean on ${mean}, rings judged on training images on ` +
      `${fooled}, out of fold on ${honest}; the best expert of each picture, known to an oracle, on ${any}. Twenty pictures are few: on all ` +
      `${data.divided.toLocaleString("en")} on which the experts disagree these four are right on ${shares.slice(0, 3).join(", ")} and ${shares[3]} %.`
    );
  }

  function again() {
    [round, played] = [round + 1, []];
    conclude("");
    deal(0);
    triangle.redraw();
  }

  function tally() {
    lines.forEach(({ cells, score }, line) => {
      cells.forEach((cell, k) => {
        cell.className = k < played.length ? (played[k].hits[line] ? "right" : "wrong") : "";
      });
      score.textContent = `${sum(line)} of ${played.length}`;
    });
    const where = JUDGES[judge.value];
    triangle.describe(
      `${played.length} pictures in a triangle, placed by what rings judged ${where} take each for: a corner each for many-, ` +
        "medium- and few-shot classes; a point is full where you were right, a ring where you were wrong.",
    );
  }

  // Where each picture of the round is, and on its way from and to: weights of the corners, [many, medium, few].
  let [way, stop, from] = [1, () => {}, []];
  function moved(milliseconds, dropped) {
    stop();
    // What is under way stays where it is seen; a new picture comes from the middle.
    from = played.map(({ at }, k) => {
      if (k === dropped) return [1 / 3, 1 / 3, 1 / 3];
      return from[k] && way < 1 ? from[k] : pictures[at].places[dropped === undefined ? 1 - judge.value : judge.value];
    });
    tally();
    stop = dq.glide(milliseconds, (t) => ((way = t), triangle.redraw()));
  }

  function draw(context, { width, height, colours }) {
    const [side, top] = [width - 56, 54];
    const tall = 0.866 * side;
    // The few above, as in the still pictures of the book.
    const corners = [[28, top + tall], [28 + side, top + tall], [28 + side / 2, top]];
    const at = (weights) => [0, 1].map((axis) => weights.reduce((total, w, k) => total + w * corners[k][axis], 0));
    dq.line(context, [...corners, corners[0]], colours.line);
    context.fillStyle = colours.quiet;
    groups.forEach((name, k) => {
      const [x, y] = corners[k];
      const line = k === 2 ? 14 : y + 24;
      const long = context.measureText(name).width;
      const start = [x - 12, x + 28 - long, x - long / 2][k];
      context.textAlign = "left";
      context.fillText(name, start, line);
      // What the frames of pictures mean.
      context.strokeStyle = colours[name];
      context.lineWidth = 2.5;
      context.strokeRect(start - 15, line - 9, 9, 9);
    });
    const size = Math.max(18, Math.min(26, width / 14));
    const spots = played.map(({ at: index }, k) => {
      const goal = pictures[index].places[judge.value];
      return at(goal.map((w, j) => (from[k] || goal)[j] * (1 - way) + w * way));
    });
    played.forEach(({ at: index }, k) => {
      const [x, y] = [spots[k][0] - size / 2, spots[k][1] - size - 7];
      context.fillStyle = colours[groups[group[pictures[index].truth]]];
      context.fillRect(x - 2.5, y - 2.5, size + 5, size + 5);
      if (thumbs[index].complete) context.drawImage(thumbs[index], x, y, size, size);
    });
    // Above all pictures, so that none hides a point.
    played.forEach(({ at: index, hits }, k) => {
      const fill = hits[0] ? colours[groups[group[pictures[index].truth]]] : colours.paper;
      dq.dot(context, spots[k], 4, fill, colours.ink, 1);
    });
  }

  deal(0);
};
