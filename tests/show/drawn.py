"""What a figure shows."""

from matplotlib.container import BarContainer


def bars(ax):
    """Those that are seen."""
    return [patch for patch in ax.patches if patch.get_width() and patch.get_height()]


def bars_by_method(ax):
    """Of each method, those of its groups."""
    return [list(container) for container in ax.containers if isinstance(container, BarContainer)]


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]
