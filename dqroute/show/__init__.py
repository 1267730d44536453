"""What draws and what moves: figures of image sets, runs and predictions, and parts that answer to a reader.

``classes`` draws a mark for each class, ``comparison`` sets methods side by side, ``images`` shows images, ``widgets``
makes figures move, with a kernel and without, ``live`` embeds those that compute in the reader's browser, as
``knob`` does; ``style`` is what they share. May import every room; none imports it.

Style guide. Shot groups and experts have fixed colours from dark to light, in order also in grey print; as points,
groups differ in shape, too. Methods differ in colour, and in dash as lines, in hatching as bars. Axes carry quantity
and unit; no titles but the names of panels. Each figure has an alternative text: under ``mystnb.image.alt`` of its
cell's metadata, or the sentence below it where it moves. Photographs are HTML and no part of a figure: a dark page
turns figures over.
"""
# ruff: noqa: F401

from dqroute.show.classes import accuracy_by_count, by_class, class_counts, profile
from dqroute.show.comparison import (
    JOB_COLOURS,
    accuracy_by_coverage,
    accuracy_by_group,
    before_and_after,
    differences,
    expert_weights,
    lines,
    speed_ratios,
    trade_offs,
    training_curves,
)
from dqroute.show.deal import deal_the_world
from dqroute.show.images import image_row, simplex, simplex_places
from dqroute.show.knob import knob
from dqroute.show.live import Live, embed, svg
from dqroute.show.router_game import be_the_router
from dqroute.show.style import EXPERT_COLOURS, GROUP_COLOURS, GROUP_MARKERS, method_styles, new_figure
from dqroute.show.trainable import train_it_yourself
from dqroute.show.widgets import Choice, Control, Moving, Slider, hover, moving
