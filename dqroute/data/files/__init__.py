"""Image files: found, listed, decoded, cropped, and read ahead of a training."""
