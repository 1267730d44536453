"""What is said of pictures that belong together; tests/data/sets/test_folder_as_it_comes.py asks how they are found."""

from dqroute.data.files.together import told_mixed


def test_a_few_groups_of_several_classes_are_named_and_of_many_it_is_said():
    names = [f"{i}.jpg" for i in range(20)]
    objects = {name: f"Inv {i // 2}" for i, name in enumerate(names)}
    labels = [i // 4 for i in range(20)]
    assert told_mixed(objects, names, labels) == []
    labels[5] = 4
    assert told_mixed(objects, names, labels) == [
        "1 group holds pictures of several classes ('Inv 2'): wrong labels, perhaps"
    ]
    cameras = {name: f"cam {i % 3}" for i, name in enumerate(names)}
    many = "3 of 3 groups span several classes, as cameras do"
    assert told_mixed(cameras, names, labels) == [many]
    again = ", and so do numbers that start anew in each folder: group_by=r'^(.*?(?:cam \\d))' keeps folders apart"
    assert told_mixed(cameras, names, labels, r"cam \d") == [many + again]
    # A pattern that cannot be put into another is left alone.
    assert told_mixed(cameras, names, labels, r"(?i)CAM \d") == told_mixed(cameras, names, labels, r"^cam \d") == [many]
