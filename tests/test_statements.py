"""The statement table covers the paper, and cites the claims that exist and no others."""

import re

import pytest

from replication.experiments import available, load
from replication.study.claims import Claim
from replication.study.statements import STATEMENTS, Statement, table
from replication.study.statements.statement import IDENTITY

CITED = {claim for statement in STATEMENTS for claim in statement.claims}
PLACES = {place for statement in STATEMENTS for place in statement.place.split("; ")}
PARTS = (
    *("Abstract", "§1", "§1.1", "§2", "§3", "§3.1", "§4", "§4.1", "§4.2", "§5", "§6", "§6.1", "§6.2", "§6.3", "§7"),
    *("Proposition 1", "Proposition 2", "Theorem 1", "Theorem 2", "Remark 1", "Remark 2", "Remark 3", "Remark 4"),
    *("footnote 1", "footnote 2", "footnote 3", "Figure 1", "Figure 2", "Figure 3", "Figure 3a", "Figure 3b"),
    *("Figure 3c", "Appendix A", "Appendix A.1", "Appendix A.2", "Appendix A.3", "Lemma 1", "Appendix A.4"),
)


def every_claim() -> list[Claim]:
    return [claim for name in available() for claim in load(name).claims]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_cited_ids_are_well_formed() -> None:
    assert all(re.fullmatch(r"[a-z]\w*\.[a-z]\w*", claim) for claim in CITED)


def test_every_claim_is_cited_and_every_cited_claim_exists() -> None:
    ids = [claim.id for claim in every_claim()]
    assert len(ids) == len(set(ids))
    assert set(ids) == CITED


def test_claims_that_a_note_names_exist() -> None:
    ids = {claim.id for claim in every_claim()}
    experiments = "|".join({name.partition(".")[0] for name in ids})
    notes = [re.findall(rf"\b(?:{experiments})\.(?!py\b)\w+", statement.note) for statement in STATEMENTS]
    assert any(notes)
    assert {claim for named in notes for claim in named} <= ids


def test_a_statement_whose_claim_is_an_identity_says_so() -> None:
    identities = {claim.id for claim in every_claim() if claim.kind == "identity"}
    assert identities
    for statement in STATEMENTS:
        if statement.claims:
            assert (IDENTITY in statement.note) == bool(identities & set(statement.claims)), statement.text


def test_statements_are_complete_and_distinct() -> None:
    assert all(statement.place.strip() and statement.text.strip() for statement in STATEMENTS)
    assert all(statement.text.endswith(".") for statement in STATEMENTS)
    assert len({statement.text for statement in STATEMENTS}) == len(STATEMENTS)
    assert all(len(set(statement.claims)) == len(statement.claims) for statement in STATEMENTS)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_the_paper_occurs(part: str) -> None:
    assert part in PLACES


def test_summaries_point_to_places_in_the_table() -> None:
    pointers = [statement.note for statement in STATEMENTS if statement.note.startswith("summary: see ")]
    assert pointers
    for note in pointers:
        assert set(re.split(r", | and ", note.removeprefix("summary: see "))) <= PLACES


@pytest.mark.parametrize("verdict", ["holds", "fails", "undecided"])
def test_table_renders_every_statement(verdict: str) -> None:
    lines = table(dict.fromkeys(CITED, verdict)).splitlines()
    assert cells(lines[0]) == ["Place", "Statement", "Tested by", "Verdict"]
    assert len(lines) == len(STATEMENTS) + 2
    for statement, line in zip(STATEMENTS, lines[2:], strict=True):
        place, text, tested_by, status = cells(line)
        assert (place, text) == (statement.place, statement.text)
        if statement.claims:
            assert all(f"`{claim}`" in tested_by for claim in statement.claims)
            assert status.count(verdict) == len(statement.claims)
        else:
            assert status == (statement.note or "not yet tested")


def test_each_of_several_claims_keeps_its_own_verdict() -> None:
    statement = Statement("§1", "Text.", ("a.x", "a.y", "a.z"), "in part")
    row = cells(table({"a.x": "holds", "a.y": "fails"}, [statement]).splitlines()[2])
    assert row[2:] == ["`a.x`, `a.y`, `a.z` (in part)", "`a.x`: holds; `a.y`: fails; `a.z`: not run"]


def test_pipes_are_escaped() -> None:
    line = table({}, [Statement("§1", "|x| is |y|.")]).splitlines()[2]
    assert cells(line)[1] == r"\|x\| is \|y\|."
    assert len(cells(line)) == 4
