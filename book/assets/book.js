// What is wider than the page scrolls sideways: let the keyboard reach it too.
addEventListener("load", () => {
  // Columns of numbers, alone or with their intervals, are set right and stay whole.
  const number = /^([-+−±×%\d.,\s]*\d[-+−±×%\d.,\s]*|nan|)$/i;
  for (const table of document.querySelectorAll("article .cell_output table.dataframe")) {
    const rows = [...table.tBodies[0].rows];
    for (let k = 0; k < (rows[0]?.cells.length || 0); k++) {
      if (rows[0].cells[k].tagName !== "TD" || !rows.every((row) => number.test(row.cells[k]?.textContent.trim() || "")))
        continue;
      const heads = [...table.tHead.rows].filter((row) => row.cells.length === rows[0].cells.length);
      for (const row of [...heads, ...rows]) row.cells[k]?.classList.add("number");
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
