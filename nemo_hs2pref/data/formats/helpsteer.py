"""HelpSteer (arXiv 2311.09528): rating rows of HelpSteer2's form, with up to four responses a prompt.

HelpSteer2's baseline (arXiv 2406.08673, Table 3, "HelpSteer"): two epochs [read]; regression on all five attributes,
official splits [read in NeMo-Aligner's preprocessing; that the baseline used it is inferred]. Aligner takes a prompt
as one user turn and drops nothing; split into turns it renders to the same text.
"""

from collections.abc import Iterator, Mapping

from nemo_hs2pref.data.formats.helpsteer2 import RATING_FILES, read_rated_responses
from nemo_hs2pref.data.groups import SPLITS, Found
from nemo_hs2pref.data.reading.rows import Reading
from nemo_hs2pref.data.reading.sources import Release, Table

RELEASE = Release("nvidia/HelpSteer", (RATING_FILES,))
RESPONSES_PER_PROMPT = 4


def read(tables: Mapping[str, Table], reading: Reading) -> Iterator[Found]:
    """The rated responses of each split, those of a prompt together; dropped as in helpsteer2.py."""
    for split in SPLITS:
        if split in tables:
            yield from read_rated_responses(tables[split], split, reading, RESPONSES_PER_PROMPT)
