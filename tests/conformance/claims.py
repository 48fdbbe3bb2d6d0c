"""File claims: taken, kept, refused, released and listed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from board_server.errors import FileAlreadyClaimed
from board_server.model import PageRequest
from tests.conformance.backend import BOARD, Conformance, contents, items, pages

PATHS = [
    " ",
    "*.go",
    "../up.go",
    "./a.go",
    "A.go",
    "a\nb",
    "a b",
    "a.go",
    "a//b.go",
    "a/b.go",
    "c:\\d",
    "cafe\u0301.go",
    "caf\u00e9.go",
    "\uff41.go",
    "\U0001d11e.go",
]
"""Paths in byte order, which differs from that of UTF-16, languages and file systems."""

paths = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1)
    | st.sampled_from(PATHS),
    unique=True,
    max_size=12,
)


async def listed(store, owner=None, board=BOARD):
    return await items(lambda page: store.list_claims(board, owner, page))


class ClaimsConformance(Conformance):
    async def test_an_unclaimed_file_has_no_owner(self, store):
        assert await store.get_file_owner(BOARD, "a.go") == ""

    async def test_claiming_a_free_file_gives_it_to_the_owner(self, store, clock):
        claim, revision = await store.claim_file(BOARD, "a.go", "p")
        assert (claim.filepath, claim.owner, claim.claimed_at) == ("a.go", "p", clock.now)
        assert revision == 1
        assert await store.get_file_owner(BOARD, "a.go") == "p"
        assert await listed(store) == [claim]

    async def test_claiming_ones_own_file_again_changes_nothing(self, store):
        first = await store.claim_file(BOARD, "a.go", "p")
        before = await contents(store)
        assert await store.claim_file(BOARD, "a.go", "p") == first
        assert await contents(store) == before

    async def test_a_file_of_another_phase_is_refused_and_nothing_changes(self, store):
        held, _ = await store.claim_file(BOARD, "a.go", "p")
        before = await contents(store)
        with pytest.raises(FileAlreadyClaimed) as caught:
            await store.claim_file(BOARD, "a.go", "q")
        assert list(caught.value.conflicts) == [held]
        assert str(caught.value) == ('file already claimed by another phase: "a.go" owned by "p"')
        assert await contents(store) == before

    async def test_several_files_are_claimed_in_one_revision(self, store, clock):
        claims, revision = await store.claim_files(BOARD, ["b.go", "a.go", "b.go"], "p")
        assert [claim.filepath for claim in claims] == ["b.go", "a.go", "b.go"]
        assert {(claim.owner, claim.claimed_at) for claim in claims} == {("p", clock.now)}
        assert revision == 1
        assert await listed(store) == [claims[1], claims[0]]

    async def test_files_that_the_owner_has_are_kept_beside_the_new_ones(self, store):
        held, _ = await store.claim_file(BOARD, "a.go", "p")
        claims, revision = await store.claim_files(BOARD, ["a.go", "b.go"], "p")
        assert claims[0] == held
        assert revision == 2
        assert await store.claim_files(BOARD, ["a.go", "b.go"], "p") == (claims, 2)

    async def test_if_another_phase_has_a_file_none_is_claimed_and_each_conflict_is_named(
        self, store
    ):
        first, _ = await store.claim_file(BOARD, "b.go", "q")
        second, _ = await store.claim_file(BOARD, "d.go", "r")
        before = await contents(store)
        with pytest.raises(FileAlreadyClaimed) as caught:
            await store.claim_files(BOARD, ["a.go", "b.go", "c.go", "d.go"], "p")
        assert list(caught.value.conflicts) == [first, second]
        assert await contents(store) == before

    async def test_claiming_no_files_succeeds_and_changes_nothing(self, store):
        before = await contents(store)
        assert await store.claim_files(BOARD, [], "p") == ([], before[0])
        assert await contents(store) == before

    async def test_paths_are_kept_as_given_and_compared_byte_for_byte(self, store):
        for path in reversed(PATHS):
            claim, _ = await store.claim_file(BOARD, path, f"owner of {path}")
            assert claim.filepath == path
        for path in PATHS:
            assert await store.get_file_owner(BOARD, path) == f"owner of {path}"

    async def test_claims_are_listed_in_the_byte_order_of_their_paths(self, store):
        for path in reversed(PATHS):
            await store.claim_file(BOARD, path, "p")
        assert [claim.filepath for claim in await listed(store)] == PATHS

    async def test_the_list_of_an_owner_has_only_its_claims(self, store):
        for index, path in enumerate(PATHS):
            await store.claim_file(BOARD, path, "pq"[index % 2])
        assert [claim.filepath for claim in await listed(store, "p")] == PATHS[::2]
        assert [claim.filepath for claim in await listed(store, "q")] == PATHS[1::2]
        assert await listed(store, "P") == []

    async def test_releasing_frees_all_that_the_owner_holds(self, store):
        for path in PATHS:
            await store.claim_file(BOARD, path, "p")
        kept, revision = await store.claim_file(BOARD, "kept.go", "q")
        assert await store.release_claims(BOARD, "p", []) == (len(PATHS), revision + 1)
        assert await listed(store) == [kept]
        assert await store.get_file_owner(BOARD, "a.go") == ""

    async def test_releasing_named_files_frees_these_alone(self, store):
        for path in PATHS:
            await store.claim_file(BOARD, path, "p")
        released, _ = await store.release_claims(BOARD, "p", PATHS[::2])
        assert released == len(PATHS[::2])
        assert [claim.filepath for claim in await listed(store)] == PATHS[1::2]

    async def test_files_that_the_owner_has_not_claimed_are_ignored(self, store):
        await store.claim_file(BOARD, "mine.go", "p")
        await store.claim_file(BOARD, "yours.go", "q")
        named = ["free.go", "mine.go", "mine.go", "yours.go"]
        released, _ = await store.release_claims(BOARD, "p", named)
        assert released == 1
        assert [claim.filepath for claim in await listed(store)] == ["yours.go"]

    @pytest.mark.parametrize("named", [[], ["yours.go"], ["free.go"]])
    async def test_releasing_nothing_succeeds_and_changes_nothing(self, store, named):
        await store.claim_file(BOARD, "yours.go", "q")
        before = await contents(store)
        assert await store.release_claims(BOARD, "p", named) == (0, before[0])
        assert await contents(store) == before

    async def test_a_released_file_is_free_for_others(self, store, clock):
        await store.claim_file(BOARD, "a.go", "p")
        await store.release_claims(BOARD, "p", [])
        claim, _ = await store.claim_file(BOARD, "a.go", "q")
        assert (claim.owner, claim.claimed_at) == ("q", clock.now)

    async def test_ten_thousand_files_are_released_at_once(self, store):
        mine = [f"dir/{index}.go" for index in range(0, 10_000, 500)]
        for path in mine:
            await store.claim_file(BOARD, path, "p")
        named = [f"dir/{index}.go" for index in range(10_000)]
        released, _ = await store.release_claims(BOARD, "p", named)
        assert released == len(mine)

    @settings(max_examples=20)
    @given(paths=paths, size=st.integers(1, 15), count=st.integers(0, 12))
    async def test_any_paths_in_any_page_size_list_back_and_are_released(
        self, store, paths, size, count
    ):
        for index, path in enumerate(paths):
            await store.claim_file(BOARD, path, "pq"[index % 2])
        in_order = sorted(paths, key=str.encode)
        for owner, wanted in (
            (None, in_order),
            ("p", [path for path in in_order if path in paths[::2]]),
        ):
            read = await pages(lambda page, o=owner: store.list_claims(BOARD, o, page), size)
            assert [claim.filepath for page in read for claim in page.items] == wanted
            assert all(len(page.items) <= size for page in read)

        released = 0
        if named := paths[:count]:
            released += (await store.release_claims(BOARD, "p", named)).value
            assert released == len(named[::2])
        released += (await store.release_claims(BOARD, "p", [])).value
        released += (await store.release_claims(BOARD, "q", [])).value
        assert released == len(paths)
        assert await listed(store) == []

    async def test_a_list_has_the_revision_of_its_reading(self, store):
        for revision, path in enumerate(PATHS, start=1):
            await store.claim_file(BOARD, path, "p")
            assert (await store.list_claims(BOARD, None, PageRequest(1))).revision == revision
