"""Which contracts contradict each other, without a server."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from board_client.cli.contradictions import contradictions
from board_client.model import Contract

few = st.sampled_from(["a", "b", "c"])
CONTRACTS = st.lists(
    st.builds(Contract, few, st.sampled_from(["type", "method"]), few, signature=few, package=few),
    unique_by=lambda each: (each.producer, each.kind, each.name),
)


@given(CONTRACTS)
def test_every_two_contracts_that_differ_in_their_signature_alone_are_reported_and_no_others(
    contracts,
):
    result = {
        frozenset((first.producer, second.producer, each.kind, each.package, each.name))
        for each in contradictions(contracts)
        for first, second in combinations(each.contracts, 2)
        if first.signature != second.signature
    }
    true = {
        frozenset((first.producer, second.producer, first.kind, first.package, first.name))
        for first, second in combinations(contracts, 2)
        if (first.kind, first.package, first.name) == (second.kind, second.package, second.name)
        and first.signature != second.signature
    }
    assert result == true


@given(CONTRACTS, st.randoms())
def test_contradictions_are_reported_in_a_stable_order(contracts, random):
    before = contradictions(contracts)
    random.shuffle(contracts)
    assert contradictions(contracts) == before
