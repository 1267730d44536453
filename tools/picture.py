"""Draw the pictures of the README and of the introduction from the runs in book/results."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import torch

matplotlib.use("svg")

from dqroute import show
from dqroute.core.long_tail import GROUP_NAMES, ShotGroups
from dqroute.runs.published import read_published
from dqroute.runs.run import Run
from dqroute.runs.tables import by_options

ROOT = Path(__file__).resolve().parent.parent
RUNS = {"judged on training images": "dqroute, judge=training", "judged out of fold": "dqroute"}


def draw(target: Path = ROOT / "book" / "assets" / "judges.svg") -> Path:
    """Tracked difficulty against test error, of one draw; the same runs give the same file, byte by byte."""
    found = by_options(read_published(ROOT / "book" / "results" / "photographs.jsonl.xz"))
    panels = {name: points(next(run for run in found[row] if run.seed == 0)) for name, row in RUNS.items()}
    figure = show.by_class(panels, "error on test photographs, %", "tracked difficulty")
    figure.set_facecolor("white")
    target.write_text(show.svg(figure, "Tracked difficulty against test error, by two judges") + "\n", encoding="utf-8")
    return target


MOVING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 330" role="img" font-family="sans-serif">
<title>Judged on training images, then out of fold</title>
<style>
.p { animation: judge 12s ease-in-out infinite }
.a { animation: first 12s infinite } .b { animation: then 12s infinite }
@keyframes judge { 0%, 35% { transform: none } 50%, 90% { transform: translate(var(--x), var(--y)) } }
@keyframes first { 0%, 40% { opacity: 1 } 41%, 94% { opacity: 0 } 95% { opacity: 1 } }
@keyframes then { 0%, 40% { opacity: 0 } 41%, 94% { opacity: 1 } 95% { opacity: 0 } }
@media (prefers-reduced-motion: reduce) {
  .p { animation: none; transform: translate(var(--x), var(--y)) } .a { display: none } .b { animation: none }
}
</style>
<g fill="#555" font-size="13">
<path d="M50 10V285H545" fill="none" stroke="#999"/>
<text x="297" y="320" text-anchor="middle">error on test photographs, %</text>
<text x="-148" y="32" text-anchor="middle" transform="rotate(-90)">tracked difficulty</text>
<g font-size="15" fill="#222" text-anchor="end">
<text class="a" x="540" y="26">judged on training images</text><text class="b" x="540" y="26">judged out of fold</text>
</g>
"""
SHAPES = {
    "many": '<circle r="4"',
    "medium": '<rect x="-4" y="-4" width="8" height="8"',
    "few": '<path d="M0-5 5 4H-5Z"',
}


def draw_moving(target: Path = ROOT / "book" / "assets" / "judges-moving.svg") -> Path:
    """The same in one panel, where each class moves from one place to the other; still for who asks for it."""
    found = by_options(read_published(ROOT / "book" / "results" / "photographs.jsonl.xz"))
    (x0, y0, groups), (x1, y1, _) = (points(next(r for r in found[row] if r.seed == 0)) for row in RUNS.values())
    top = float(torch.cat([y0, y1]).max())
    (a0, b0), (a1, b1) = ((50 + 4.9 * x, 285 - 240 * y / top) for x, y in ((x0, y0), (x1, y1)))
    parts = [MOVING]
    for error in range(0, 101, 20):
        parts.append(f'<text x="{50 + 4.9 * error:.0f}" y="302" text-anchor="middle">{error}</text>')
    for k, (name, colour) in enumerate(show.GROUP_COLOURS.items()):
        mark = f'{SHAPES[name]} fill="{colour}"/><text x="10" y="5">{name}</text>'
        parts.append(f'<g transform="translate({75 + 80 * k} 21)">{mark}</g>')
    parts.append("</g>")
    for c, group in enumerate(groups.of_class().tolist()):
        name = GROUP_NAMES[group]
        way = f"--x:{a1[c] - a0[c]:.0f}px;--y:{b1[c] - b0[c]:.0f}px"
        mark = f'{SHAPES[name]} class="p" style="{way}" fill="{show.GROUP_COLOURS[name]}" fill-opacity=".75"/>'
        parts.append(f'<g transform="translate({a0[c]:.0f} {b0[c]:.0f})">{mark}</g>')
    target.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")
    return target


def points(run: Run) -> tuple[torch.Tensor, torch.Tensor, ShotGroups]:
    """Test error in % and tracked difficulty of each class, and the shot groups."""
    report = run.report()
    assert report is not None
    error = torch.tensor([100 - 100 * (share or 0) for share in report.per_class])
    return error, torch.tensor(run.epochs[-1]["difficulty"]), run.groups


if __name__ == "__main__":
    for drawn in (draw(), draw_moving()):
        print(drawn.relative_to(ROOT))
