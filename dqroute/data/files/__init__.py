"""Image files: one decoded, many read ahead by threads, lists and trees of them made an image set."""
