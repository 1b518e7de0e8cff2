import pytest

from timit.phones import LABELS_61, PHONES_39, PHONES_48, TO_39, TO_48, fold
from timit.speakers import CORE_TEST, DEV, UTTERANCES


def test_sizes_of_the_phone_sets():
    assert (len(LABELS_61), len(PHONES_48), len(PHONES_39)) == (61, 48, 39)
    assert set(TO_48) == set(LABELS_61) - {"q"}
    assert set(TO_48.values()) == set(PHONES_48) == set(TO_39)


# Table I and the folding for scoring of Lee and Hon (1989), in full where several become one.
@pytest.mark.parametrize(
    ("phone", "members"),
    {
        "sil": "h# pau epi bcl dcl gcl pcl tcl kcl",
        "aa": "aa ao",
        "ah": "ah ax ax-h",
        "er": "er axr",
        "hh": "hh hv",
        "ih": "ih ix",
        "l": "l el",
        "m": "m em",
        "n": "n en nx",
        "ng": "ng eng",
        "sh": "sh zh",
        "uw": "uw ux",
    }.items(),
)
def test_phones_scored_as_one(phone, members):
    assert {label for label in TO_48 if TO_39[TO_48[label]] == phone} == set(members.split())


@pytest.mark.parametrize(
    ("phone", "members"),
    {"sil": "h# pau", "cl": "pcl tcl kcl", "vcl": "bcl dcl gcl", "ax": "ax ax-h", "n": "n nx", "en": "en"}.items(),
)
def test_phones_trained_as_one(phone, members):
    assert {label for label in TO_48 if TO_48[label] == phone} == set(members.split())


def test_fold_removes_the_glottal_stop_and_keeps_repeats():
    assert fold(["h#", "bcl", "b", "q", "bcl", "gcl", "h#", "pau"]) == ["sil", "vcl", "b", "vcl", "vcl", "sil", "sil"]


def test_speakers_of_the_standard_splits():
    assert (len(CORE_TEST), len(DEV)) == (24, 50)
    assert not CORE_TEST & DEV
    assert sum(name[0] == "F" for name in CORE_TEST) == 8  # one woman for each of the eight regions
    assert UTTERANCES == {"train": 462 * 8, "dev": 50 * 8, "test": 24 * 8}
