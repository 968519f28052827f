from pathlib import Path

from cxray.data.audit.names import cut_names, readings

CHILDREN = [
    f"person{n}_{kind}_{4000 + 7 * n + k}" for n in range(1, 31) for k, kind in enumerate(("virus", "bacteria"))
]
NORMALS = [f"NORMAL2-IM-{n:04d}-0001" for n in range(1, 31)]


def test_pieces_that_count_are_told_from_words_that_hold_a_digit():
    parts = cut_names(CHILDREN + NORMALS)
    assert parts[0].words == ("person#", "virus")
    assert (parts[0].counter, parts[0].number) == ("person1", 1)
    assert parts[-1].words == ("normal2", "im")
    assert (parts[-1].counter, parts[-1].number) == ("0030", 30)


def test_film_counters_with_few_values_are_no_words():
    parts = cut_names([f"phantom-p{n:04d}-f{k}" for n in range(20) for k in range(2)])
    assert parts[0].words == ("phantom", "p#", "f#")


def test_a_name_without_numbers_has_no_counter():
    part = cut_names(["chest frontal"])[0]
    assert (part.counter, part.place, part.number) == ("", -1, None)


def test_readings_offer_the_number_alone_and_the_number_with_its_word():
    found = readings([Path(f"{name}.jpeg") for name in CHILDREN])
    assert found["up to the number"][:2] == ["person1", "person1"]
    assert found["the number alone"][:3] == ["1", "1", "2"]
    assert "number and word" not in found  # every film for itself: groups nothing


def test_readings_leave_out_one_group_for_all_and_one_film_each():
    assert readings([Path(f"all/img_{n:05d}.png") for n in range(100)]) == {}


def test_folders_of_single_patients_are_a_reading():
    paths = [Path(f"set/child{n}/view{k}.png") for n in range(40) for k in range(3)]
    assert readings(paths)["the folder"][:4] == ["set/child0"] * 3 + ["set/child1"]
