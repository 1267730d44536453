"""Where batches were before; to be removed."""

from dqroute.data.batches import batches_of as batches_of
