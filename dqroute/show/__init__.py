"""The book's figures, in one style.

Style guide. Many, medium and few have fixed colours, and so have experts 1 to 3; both run from dark to light, so
that they stay in order in grey print, and no pair is told apart by red against green alone. Where groups are drawn as
points, their shapes differ too. Methods differ in colour, and in dash as lines, in hatching as bars, because several of
their colours are one grey in print. Axes carry their quantity and unit. Grid lines are faint, frames are left off. No
figure has a title: the text around it says what to see. Panels side by side have names above them, to be told apart.
A figure is 7 inches wide, the width of the page's column, and on white ground also where the page is dark. Each has an
alternative text: in a notebook under ``mystnb.image.alt`` of its cell's metadata, in a moving figure the sentence
below it.
"""

from dqroute.show.classes import accuracy_by_count, by_class, class_counts, profile
from dqroute.show.comparison import accuracy_by_group, differences, lines, trade_offs, training_curves
from dqroute.show.confidence import accuracy_by_coverage, expert_weights, reliability
from dqroute.show.images import examples, explanation, image_row, show_image, simplex, simplex_places
from dqroute.show.speed import JOB_COLOURS, accuracy_by_compute, speed_ratios
from dqroute.show.style import (
    DASHES,
    EXPERT_COLOURS,
    GROUP_COLOURS,
    GROUP_MARKERS,
    HATCHES,
    interval,
    method_hatches,
    method_styles,
    new_figure,
)

__all__ = [
    "GROUP_COLOURS",
    "GROUP_MARKERS",
    "EXPERT_COLOURS",
    "DASHES",
    "HATCHES",
    "new_figure",
    "method_styles",
    "method_hatches",
    "interval",
    "class_counts",
    "profile",
    "by_class",
    "accuracy_by_count",
    "lines",
    "training_curves",
    "accuracy_by_group",
    "trade_offs",
    "differences",
    "expert_weights",
    "reliability",
    "accuracy_by_coverage",
    "examples",
    "show_image",
    "image_row",
    "explanation",
    "simplex",
    "simplex_places",
    "JOB_COLOURS",
    "speed_ratios",
    "accuracy_by_compute",
]
