"""What is read off predictions once they are made, on plain tensors. May import ``core``; of others' torch alone.

How often they are right (``accuracy``), how far off that may be (``intervals``), what it costs (``curves``); from which
probability on to answer (``decisions``), which images are of no known class (``outsiders``), how common classes are
where images come from (``worlds``), what ``groups`` of classes hold, and the ``calibration`` of any method's logits.
"""
