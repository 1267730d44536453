// What is wider than the page scrolls sideways: let the keyboard reach it too.
addEventListener("load", () => {
  const reach = () =>
    document.querySelectorAll("article :is(div, pre)").forEach((box) => {
      const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
      if (scrolls && box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    });
  reach();
  addEventListener("resize", reach);
});
