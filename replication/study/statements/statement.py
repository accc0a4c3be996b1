"""What a row of the table of statements is, and the notes that many rows share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One assertion of the paper."""

    place: str
    """Where in the paper."""
    text: str
    """Our wording, one sentence."""
    claims: tuple[str, ...] = ()
    """Ids of the claims that test it."""
    note: str = ""
    """With claims: what they leave out. Without: why no claim tests it."""


INTERPRETATION = "interpretation: asserts nothing that can be measured"
CITED = "a result of earlier work, cited as background"
PROTOCOL = "protocol"
NOT_THERE = "not in the paper"
"""The place of what we add."""
IDENTITY = "an identity, checked to rounding"


def see(places: str) -> str:
    """The note of a summary: the statement is made precise, and tested, elsewhere in the table."""
    return f"summary: see {places}"
