"""One file a data set: a function that returns an image set, named in `dqroute.data.DATA_SETS`."""
