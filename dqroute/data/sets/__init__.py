"""The image sets, a file each: a function that returns an :class:`~dqroute.data.ImageSet`."""
