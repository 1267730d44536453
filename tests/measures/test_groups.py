"""What groups say of themselves: how many images their classes have, whether they mix, whether they tell anything."""

from dqroute.core.long_tail import shot_groups
from dqroute.measures.groups import described, mixed, ranges


def test_groups_say_how_many_images_their_classes_have_and_whether_they_mix():
    """Twelve classes of which two hold 99 %: no class is medium, and the third called many has 3,000 and 9 images."""
    counts = [3000, 3000, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    groups = shot_groups(counts)
    assert ranges(groups, counts) == {"many": (9, 3000), "medium": (5, 8), "few": (1, 4)}
    assert described(groups, counts).endswith("training images a class: many 9 to 3,000, medium 5 to 8, few 1 to 4")
    assert "many of 9 to 3,000: read the report by class; groups='shots'" in mixed(groups, counts)
    shots = shot_groups(counts, "shots")
    assert mixed(shots, counts) is None and "many 3,000, few 1 to 10" in described(shots, counts)
    assert mixed(shot_groups([100, 50, 20, 19, 10, 1]), [100, 50, 20, 19, 10, 1]) is None


def test_where_no_class_has_many_more_than_another_the_groups_say_that_they_tell_nothing():
    told = "the groups tell nothing"
    assert described(shot_groups([40, 40, 39, 39, 38, 38]), [40, 40, 39, 39, 38, 38]).endswith(told)
    assert told in described(shot_groups([40, 30, 20]), [40, 30, 20])
    assert told not in described(shot_groups([41, 30, 20]), [41, 30, 20])
    assert told not in described(shot_groups([30, 30, 30], "shots"), [30, 30, 30])  # all are medium, which is so
