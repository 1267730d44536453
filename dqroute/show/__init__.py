"""What draws and what moves: figures of image sets, runs and predictions, and parts that answer to a reader.

``classes`` draws a mark for each class, ``comparison`` sets methods side by side, ``images`` shows images, ``widgets``
makes figures move, with a kernel and without; ``style`` is what they share. All is here: ``from dqroute import show``.
May import every room; no room imports this one.

Style guide. Shot groups and experts have fixed colours from dark to light, in order also in grey print; as points,
groups differ in shape, too. Methods differ in colour, and in dash as lines, in hatching as bars. Axes carry quantity
and unit; grids are faint, frames left off; no titles but the names of panels. Figures are 7 inches wide, the page's
column, on white also where the page is dark. Each has an alternative text: in a notebook under ``mystnb.image.alt`` of
its cell's metadata, in a moving figure the sentence below it.
"""
# ruff: noqa: F401

from dqroute.show.classes import accuracy_by_count, by_class, class_counts, profile
from dqroute.show.comparison import (
    JOB_COLOURS,
    accuracy_by_compute,
    accuracy_by_coverage,
    accuracy_by_group,
    differences,
    expert_weights,
    lines,
    reliability,
    speed_ratios,
    trade_offs,
    training_curves,
)
from dqroute.show.images import examples, explanation, image_row, show_image, simplex, simplex_places
from dqroute.show.style import EXPERT_COLOURS, GROUP_COLOURS, GROUP_MARKERS, method_styles, new_figure
from dqroute.show.widgets import Choice, Control, Moving, Slider, hover, moving, svg
