// What is wider than the page scrolls sideways: let the keyboard reach it too.
addEventListener("load", () => {
  // Columns of numbers, alone or with their intervals, are set right and stay whole.
  const number = /^([-+−±×%\d.,\s]*\d[-+−±×%\d.,\s]*|nan|–|)$/i;
  // Tables with formats of their own look as all others do.
  for (const table of document.querySelectorAll("article .cell_output table:is(.dataframe, [id^='T_'])")) {
    table.classList.add("dataframe");
    const rows = [...table.tBodies[0].rows];
    // From the last column on: a name may stand for several rows.
    for (let k = 1; k <= (rows[0]?.cells.length || 0); k++) {
      const column = (some) => some.map((row) => [...row.cells].at(-k)).filter((cell) => cell);
      const cells = column(rows);
      if (cells[0].tagName !== "TD" || !cells.every((cell) => number.test(cell.textContent.trim()))) continue;
      const heads = column([...table.tHead.rows].filter((row) => row.cells.length === rows[0].cells.length));
      for (const cell of [...heads, ...cells]) cell.classList.add("number");
      for (const cell of cells) cell.textContent = cell.textContent.replace("± ", "±\u00a0");
    }
  }
  const reach = () =>
    document.querySelectorAll("article :is(div, pre)").forEach((box) => {
      const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
      if (scrolls && box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    });
  reach();
  addEventListener("resize", reach);
  // Of folds that open, too.
  addEventListener("toggle", reach, true);
});

// Paper is light, and nobody can open a fold on it.
let restore = () => {};
addEventListener("beforeprint", () => {
  const { dataset } = document.documentElement;
  const theme = dataset.theme;
  const closed = document.querySelectorAll("article details:not([open])");
  const set = (open) => closed.forEach((fold) => (fold.open = open));
  dataset.theme = "light";
  set(true);
  restore = () => {
    dataset.theme = theme;
    set(false);
  };
});
addEventListener("afterprint", () => restore());
