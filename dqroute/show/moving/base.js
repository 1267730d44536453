// What all moving figures share. A figure is a file beside this one with `dqMoving.NAME = (root, data) => {...}`: root
// is an empty element to fill, data what Python's `embed` was given, its arrays typed, each with a `shape`. Base, figure
// and data stand in one script of their own, so that nothing is fetched and nothing is shared with the rest of the page.
const dqMoving = {};

const dq = {
  // An element with attributes (functions are listeners) and children, put into a parent.
  add(parent, tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") made.addEventListener(name, value);
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    // Else JupyterLab takes the arrow keys from what has the focus, for its cells.
    if (["input", "button"].includes(tag)) made.setAttribute("data-lm-suppress-shortcuts", "true");
    made.append(...children);
    parent.append(made);
    return made;
  },

  // A place for controls: labels, controls and values in three columns.
  controls: (parent) => dq.add(parent, "div", { class: "dq-controls" }),

  // A range input with its label and its live value. `format` says the value in words; `input` hears it move.
  slider(parent, { label, min, max, step = "any", value, format = String, input = () => {} }) {
    const id = dq.id();
    const line = dq.add(parent, "div", { class: "dq-slider" });
    dq.add(line, "label", { for: id }, label);
    const range = dq.add(line, "input", { type: "range", id, min, max, step, value, autocomplete: "off" });
    const output = dq.add(line, "output", { for: id });
    const tell = () => {
      output.textContent = format(Number(range.value));
      range.setAttribute("aria-valuetext", output.textContent);
    };
    range.addEventListener("input", () => (tell(), input(Number(range.value))));
    tell();
    return {
      element: range,
      get value() {
        return Number(range.value);
      },
      set value(value) {
        range.value = value;
        tell();
      },
    };
  },

  button: (parent, label, press) => dq.add(parent, "button", { type: "button", click: press }, label),

  // One of a few options, as radio buttons side by side; `value` is its index.
  toggle(parent, { label, options, value = 0, input = () => {} }) {
    const name = dq.id();
    const group = dq.add(parent, "fieldset", { class: "dq-toggle" });
    dq.add(group, "legend", {}, label);
    const radios = options.map((option, k) => {
      const holder = dq.add(group, "label");
      const radio = dq.add(holder, "input", { type: "radio", name, value: k, autocomplete: "off", change: () => input(k) });
      radio.checked = k === value;
      holder.append(option);
      return radio;
    });
    return {
      element: group,
      get value() {
        return radios.findIndex((radio) => radio.checked);
      },
      set value(k) {
        radios[k].checked = true;
      },
    };
  },

  // A canvas as wide as its column, sharp at the device's resolution, drawn anew when size or colours change. `height`
  // is a number or a function of the width, in CSS pixels; `draw(context, { width, height, colours })` draws all of it.
  surface(parent, { label, height, draw }) {
    const holder = dq.add(parent, "div", { class: "dq-surface" });
    const canvas = dq.add(holder, "canvas", { role: "img", "aria-label": label });
    let asked = 0;
    const now = () => {
      asked = 0;
      const width = holder.clientWidth;
      if (!width) return;
      const tall = typeof height === "function" ? height(width) : height;
      const dense = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(tall * dense);
      canvas.style.height = `${tall}px`;
      const context = canvas.getContext("2d");
      context.scale(dense, dense);
      context.font = dq.font(holder);
      draw(context, { width, height: tall, colours: dq.colours(holder) });
    };
    const redraw = () => (asked ||= requestAnimationFrame(now));
    new ResizeObserver(redraw).observe(holder);
    dq.onTheme(redraw);
    redraw();
    return {
      canvas,
      redraw,
      describe: (text) => canvas.setAttribute("aria-label", text),
      // Where a pointer is, in the units that draw works in.
      at(event) {
        const box = canvas.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
      },
    };
  },

  // A line through points, and a dot.
  line(context, points, colour, width = 1, dash = []) {
    Object.assign(context, { strokeStyle: colour, lineWidth: width });
    context.setLineDash(dash);
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
    context.setLineDash([]);
  },
  dot(context, [x, y], radius, fill, edge = fill, width = 2) {
    Object.assign(context, { fillStyle: fill, strokeStyle: edge, lineWidth: width });
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fill();
    context.stroke();
  },

  // Axes in a box { left, top, right, bottom } of a context: faint lines at the ticks, labels, and the scales as
  // functions { x, y } from values to pixels. An axis is { from, to, ticks: [...], label, format }.
  axes(context, box, x, y, colours) {
    const place = (axis, start, end) => (value) => start + ((value - axis.from) / (axis.to - axis.from)) * (end - start);
    const scale = { x: place(x, box.left, box.right), y: place(y, box.bottom, box.top) };
    const say = (axis, value) => (axis.format || String)(value);
    context.save();
    context.fillStyle = colours.quiet;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of y.ticks || []) {
      const at = Math.round(scale.y(tick)) + 0.5;
      dq.line(context, [[box.left, at], [box.right, at]], colours.grid);
      context.fillText(say(y, tick), box.left - 6, at);
    }
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of x.ticks || []) context.fillText(say(x, tick), scale.x(tick), box.bottom + 6);
    if (x.label) context.fillText(x.label, (box.left + box.right) / 2, box.bottom + (x.ticks ? 24 : 8));
    // Above the axis and level, where it needs no turning of the head.
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    if (y.label) context.fillText(y.label, box.left, box.top - 8);
    context.restore();
    return scale;
  },

  font: (element, pixels = 13) => `${pixels}px ${getComputedStyle(element).fontFamily}`,

  // The palette as base.css has it for the theme that holds now: ink, quiet, grid, paper, accent, many, medium, few,
  // expert-1 to expert-3.
  colours(element) {
    const style = getComputedStyle(element);
    return new Proxy({}, { get: (_, name) => style.getPropertyValue(`--dq-${String(name)}`).trim() });
  },

  // Calls when the book, JupyterLab or the reader's system turns light or dark.
  onTheme(changed) {
    const watch = new MutationObserver(changed);
    const attributeFilter = ["data-theme", "data-jp-theme-light", "class"];
    for (const element of [document.documentElement, document.body]) watch.observe(element, { attributeFilter });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  },

  // Whether the reader asked for things not to move.
  calm: () => matchMedia("(prefers-reduced-motion: reduce)").matches,

  // Calls step(t), t from 0 to 1, over some milliseconds; at once with 1 for who asked for calm. Gives a way to stop.
  glide(milliseconds, step) {
    if (dq.calm()) return step(1), () => {};
    let frame = 0;
    const start = performance.now();
    const next = (now) => {
      const t = Math.min(1, Math.max(0, (now - start) / milliseconds));
      step(1 - (1 - t) ** 3);
      if (t < 1) frame = requestAnimationFrame(next);
    };
    frame = requestAnimationFrame(next);
    return () => cancelAnimationFrame(frame);
  },

  // A line that says what has changed, to screen readers, too. Gives the function that says it.
  status(parent, text = "") {
    const line = dq.add(parent, "p", { class: "dq-status", role: "status", "aria-live": "polite" }, text);
    return (words) => (line.textContent = words);
  },

  // Runs a generator in a worker, or, where there is none, here between two frames. `functions` are declared functions
  // that use nothing but each other; the last, a generator, is called with `input`, and `receive` hears what it yields.
  // Errors come as { error }. Gives a way to stop.
  work(functions, input, receive) {
    let stop = () => {};
    const here = () => {
      let over = false;
      const steps = functions.at(-1)(input);
      const next = () => {
        if (over) return;
        try {
          const { value, done } = steps.next();
          if (done) return;
          receive(value);
        } catch (error) {
          return receive({ error: String(error) });
        }
        setTimeout(next);
      };
      stop = () => (over = true);
      setTimeout(next);
    };
    const told = `onmessage = ({ data }) => { for (const value of ${functions.at(-1).name}(data)) postMessage(value); };`;
    try {
      const address = URL.createObjectURL(new Blob([functions.join("\n"), "\n", told], { type: "text/javascript" }));
      const worker = new Worker(address);
      let heard = false;
      worker.onmessage = ({ data }) => ((heard = true), receive(data));
      worker.onerror = (event) => {
        event.preventDefault();
        worker.terminate();
        // A page may forbid workers, and says so only now.
        if (heard) receive({ error: event.message });
        else here();
      };
      stop = () => worker.terminate();
      worker.postMessage(input);
      URL.revokeObjectURL(address);
    } catch {
      here();
    }
    return () => stop();
  },

  // What `embed` wrote, with its arrays as typed ones.
  decode(value) {
    if (Array.isArray(value)) return value.map(dq.decode);
    if (value === null || typeof value !== "object") return value;
    if (!("base64" in value)) return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, dq.decode(v)]));
    const bytes = Uint8Array.from(atob(value.base64), (letter) => letter.charCodeAt(0)).buffer;
    const kinds = { int8: Int8Array, uint8: Uint8Array, uint16: Uint16Array, int32: Int32Array, float32: Float32Array };
    const array = new kinds[value.dtype](bytes);
    array.shape = value.shape;
    return array;
  },

  id: () => `dq-${(dq.made = (dq.made || 0) + 1)}-${dq.page}`,

  // Fills each element of this name that has not been filled yet; an output may be shown twice.
  start(name, id) {
    for (const root of document.querySelectorAll(`[id="${id}"]:not([data-live])`)) {
      dq.page = `${id}-${document.querySelectorAll(".dq-live").length}`;
      const live = dq.add(root, "div", { class: "dq-live" });
      try {
        // Before the figure is made, so that it knows its width.
        root.dataset.live = "";
        dqMoving[name](live, dq.decode(JSON.parse(root.querySelector("script[type='application/json']").textContent)));
      } catch (error) {
        // The still picture stays.
        live.remove();
        delete root.dataset.live;
        throw error;
      }
    }
  },
};
