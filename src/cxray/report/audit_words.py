"""What each finding of an audit means to somebody who has never heard of leakage: a heading, and why it matters.

The audit's own title says what was found in these films and its advice what to do; these words say what kind of trouble
it is. A code that is not listed here keeps its own name and goes without an explanation.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Words:
    """`heading` names the trouble in a few words; `why` explains it without any term of the trade."""

    heading: str
    why: str


_LEARNS_IT = (
    " A model takes whatever separates the classes most easily. If that is not the disease, it looks excellent here "
    "and fails where this hint is absent."
)

WORDS: dict[str, Words] = {
    "patient-leak": Words(
        "The same patient in training and in test",
        "A test asks how the model does on people it has never met. Ribs, heart and posture make a person easy to "
        "recognise; where the same person was learned from, the test is an exam whose answers were handed out before.",
    ),
    "duplicate-across-splits": Words(
        "The same film in training and in test",
        "A film that was learned from can be remembered instead of understood. Every such film in the test is a gift, "
        "and the figures come out too good.",
    ),
    "duplicate-contradicting-labels": Words(
        "One film, two labels",
        "The same exposure is called one thing here and another there. At least one is wrong, and a model that learns "
        "both learns nothing from either.",
    ),
    "duplicate-within-split": Words(
        "Films that are there more than once",
        "A copy adds no knowledge but counts again, in training and in every percentage. Intervals look narrower than "
        "they are.",
    ),
    "duplicate-across-patients": Words(
        "One film under two patients' names",
        "If two names share an exposure, they are probably one person, and counting them as two makes the data look "
        "larger than it is.",
    ),
    "near-duplicate": Words(
        "Films that may be one exposure",
        "The fine grain of these films agrees more than chance allows, but not enough to be sure. They may be one film "
        "that was processed twice, or two films taken within seconds.",
    ),
    "known-films": Words(
        "Films already seen in another data set",
        "Data from elsewhere is worth having because it is new. Films that were in the other set already prove nothing "
        "when they are met again.",
    ),
    "unreadable-film": Words(
        "Films that cannot be read",
        "They are damaged or of a kind that cannot be opened. Nobody learns from them and nobody is judged by them; if "
        "they are mostly of one class, that by itself tilts the result.",
    ),
    "stray-files": Words(
        "Files that are not used",
        "They are no films in a class folder. Mostly harmless; but a film in the wrong place is lost.",
    ),
    "nested-copies": Words(
        "The data set inside itself",
        "The archive was packed with a copy of itself. Other software may count every film several times, and copies "
        "will then stand on both sides of a split.",
    ),
    "blank-film": Words(
        "Empty films", "There is no picture on them, yet they carry a label that a model will try to learn."
    ),
    "tiny-film": Words("Films too small to see on", "So few pixels are left that fine changes in the lungs are gone."),
    "inverted-film": Words(
        "Negatives among positives",
        "Black and white are swapped on these films. To a model that is another kind of picture; if it happens more "
        "often in one class, it becomes the answer.",
    ),
    "unusual-film": Words(
        "Films unlike all others",
        "Perhaps another view, another part of the body, or no radiograph at all. A few do little harm in training; in "
        "a test each is a question outside the subject.",
    ),
    "colour-film": Words(
        "Films stored in colour",
        "Radiographs are grey. Colour shows that a film was photographed, drawn on, or went through other software.",
    ),
    "odd-aspect": Words(
        "Films of an odd shape", "Far wider or taller than the rest: strips, double films, other views."
    ),
    "black-border": Words(
        "Wide black margins",
        "Margins hold no anatomy. They are harmless unless they go with one class more than with the other.",
    ),
    "burned-in-text": Words(
        "Writing on the film",
        "Letters may name a patient, which must not be passed on, or a ward or machine, which a model takes as a hint.",
    ),
    "counts": Words(
        "How many films, of how many patients",
        "Ten films of one person are not ten people. Figures and their uncertainty should be counted in patients.",
    ),
    "sibling-films": Words(
        "What a careless split would do",
        "Many tools divide films at random and forget whose they are. This is how many films would then have a sibling "
        "on the other side.",
    ),
    "validation-too-small": Words(
        "Too few films to choose by",
        "Validation films decide which version of a model is kept and where its threshold lies. Here luck decides.",
    ),
    "test-too-small": Words(
        "Too few films to judge by",
        "Each film weighs so much in the result that one mistake more or less changes the story.",
    ),
    "contiguous-split": Words(
        "The test is a block, not a sample",
        "Patients with neighbouring numbers often came in the same weeks, to the same machine. Testing on such a "
        "block measures that period, not the whole.",
    ),
    "patient-identity": Words(
        "Who is one patient",
        "Everything about leaks depends on knowing which films belong to one person. Names can be read in several "
        "ways, so the films are asked: two films of one person resemble each other more than two films of strangers.",
    ),
    "patient-identity-missed": Words(
        "Patients that were not recognised",
        "The file names hold a pattern that is not used, and films which share it do resemble each other as films of "
        "one person do. If it numbers patients, they may stand on both sides of a split unnoticed.",
    ),
    "patient-identity-doubtful": Words(
        "Patients that are perhaps several people",
        "Films said to show one person resemble each other no more than films of strangers.",
    ),
    "class-shift": Words(
        "Test films that look different for no medical reason",
        "Within one class, a simple program can tell training films from test films. So they were made under other "
        "conditions, and what holds for one need not hold for the other.",
    ),
    "prevalence-difference": Words(
        "Another mix of ill and healthy",
        "Accuracy and the trust an alarm deserves depend on how common the disease is. They do not carry over from one "
        "mix to another.",
    ),
    "strata-in-names": Words(
        "Groups hidden in the file names",
        "Words in the names divide a class into parts. A model can be good on one part and poor on another while the "
        "average looks fine.",
    ),
    "shortcut-border": Words(
        "The edge of the film gives the answer away",
        "The rim of a film holds markers, the edge of the X-ray field and how the patient was placed, hardly any lung."
        + _LEARNS_IT,
    ),
    "shortcut-corners": Words(
        "The corners of the film give the answer away",
        "The corners hold markers, shoulders and darkness, no lung." + _LEARNS_IT,
    ),
    "shortcut-size": Words(
        "The size of the film gives the answer away",
        "How large a film was stored tells where and how it was made, not what ails the patient." + _LEARNS_IT,
    ),
    "shortcut-file-bytes": Words(
        "The size of the file gives the answer away",
        "How large a file is depends on the software that packed it, and only a little on what the film shows."
        + _LEARNS_IT,
    ),
    "shortcut-intensity": Words(
        "Brightness and contrast give the answer away",
        "How bright a film is depends on machine and exposure. Disease whitens lungs too, so it has a part in this."
        + _LEARNS_IT,
    ),
    "shortcut-metadata": Words(
        "Facts beside the film give the answer away",
        "The file's kind, or columns such as age, view and machine, say nothing about the lungs." + _LEARNS_IT,
    ),
    "one-class-group": Words(
        "Films of one machine, and only one answer",
        "These films share a print, a size or an entry, so they were probably made in one place, and there hardly "
        "anybody has the other answer. A model learns that the place means the answer, and no film tells it otherwise.",
    ),
    "one-class-group-breaks": Words(
        "A hint that turns round in the test",
        "In training everybody with this print, size or entry has the same answer; in the test they have not. A model "
        "that learned the hint will be wrong about these very films, and sure of it.",
    ),
    "shortcut-floor": Words(
        "What a model has to beat",
        "So well can the answer be guessed without looking at the lungs. A model that does no better may have learned "
        "nothing about disease.",
    ),
    "threshold-shift": Words(
        "A threshold that does not travel",
        "A model gives a score, and a threshold turns it into yes or no. Chosen on training films, it behaves quite "
        "differently on the test films, even for a very simple model.",
    ),
    "label-suspect": Words(
        "Labels to read again",
        "A simple program that never saw these patients is almost sure of the other answer. Some labels will be wrong; "
        "many will be right, because hard films exist.",
    ),
}


def words_of(code: str) -> Words:
    """The words for `code`; for a code that is not known, its own name."""
    return WORDS.get(code) or Words(code.replace("-", " ").capitalize(), "")
