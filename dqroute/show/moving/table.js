// A figure that is looked up: of each position of the controls a drawing and a sentence, the last control running fastest,
// as Python's itertools.product counts. On a ground, a drawing that stays, a pointer may choose among points.
dqMoving.table = (root, { controls, frames, points }) => {
  const still = root.parentElement.querySelector(".dq-still");
  const base = still.querySelector(".table-ground");
  const mark = dq.add(base, "span", { class: "table-mark", hidden: true });
  const place = dq.controls(root);
  const moved = controls.map(({ label, names, start, slider }) =>
    slider
      ? dq.slider(place, { label, min: 0, max: names.length - 1, step: 1, value: start, format: (k) => names[k], input: show })
      : dq.toggle(place, { label, options: names, value: start, input: show }),
  );
  const drawing = dq.add(root, "div", { class: "table-drawing" });
  const say = dq.status(root);

  function show() {
    const at = moved.reduce((all, { value }, k) => all * controls[k].names.length + value, 0);
    drawing.innerHTML = frames[at][0];
    say(frames[at][1]);
    mark.hidden = !points.length;
    if (!points.length) return;
    const [x, y] = points[at];
    Object.assign(mark.style, { left: `${100 * x}%`, top: `${100 * y}%` });
  }

  // The nearest point answers to a pointer that is no more than 24 pixels away.
  const point = ({ clientX, clientY }) => {
    const box = base.getBoundingClientRect();
    const away = points.map(([x, y]) => Math.hypot(clientX - box.left - x * box.width, clientY - box.top - y * box.height));
    const nearest = away.indexOf(Math.min(...away));
    if (!(away[nearest] <= 24)) return;
    moved[0].value = nearest;
    show();
  };
  for (const event of ["pointermove", "pointerdown"]) base.addEventListener(event, point);
  show();
  // What is drawn is its own still picture.
  root.prepend(base);
  still.remove();
};
