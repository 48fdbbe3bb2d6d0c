"""BoardServicer: one method per RPC. Convert, await the store, convert."""

import asyncio
from typing import Any

import grpc

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceServicer
from board_server import convert
from board_server.feed import Feeds
from board_server.store import Store

Context = grpc.aio.ServicerContext[Any, Any]


class BoardServicer(BoardServiceServicer):
    """The service over a store. A request that names no board is for the default board."""

    def __init__(self, store: Store, feeds: Feeds, default_board: str) -> None:
        self._store = store
        self._feeds = feeds
        self._default_board = default_board

    def _named(self, board: str) -> str:
        return board or self._default_board

    async def OpenBoard(
        self, request: pb.OpenBoardRequest, context: Context
    ) -> pb.OpenBoardResponse:
        board = convert.board_from_proto(request)
        info = await self._store.open_board(self._named(board))
        return pb.OpenBoardResponse(board=convert.board_to_proto(info))

    async def ListBoards(
        self, request: pb.ListBoardsRequest, context: Context
    ) -> pb.ListBoardsResponse:
        listed = convert.list_boards_from_proto(request)
        page = await self._store.list_boards(listed.page)
        return pb.ListBoardsResponse(
            boards=map(convert.board_to_proto, page.items),
            next_page_token=listed.token(page.next),
        )

    async def SetPhaseState(
        self, request: pb.SetPhaseStateRequest, context: Context
    ) -> pb.SetPhaseStateResponse:
        board, change = convert.phase_change_from_proto(request)
        phase, revision = await self._store.set_phase_state(self._named(board), change)
        return pb.SetPhaseStateResponse(phase=convert.phase_to_proto(phase), revision=revision)

    async def GetPhaseState(
        self, request: pb.GetPhaseStateRequest, context: Context
    ) -> pb.GetPhaseStateResponse:
        board, phase_id = convert.phase_id_from_proto(request)
        phase = await self._store.get_phase_state(self._named(board), phase_id)
        return pb.GetPhaseStateResponse(phase=convert.phase_to_proto(phase) if phase else None)

    async def ListPhases(
        self, request: pb.ListPhasesRequest, context: Context
    ) -> pb.ListPhasesResponse:
        listed, states = convert.list_phases_from_proto(request)
        page = await self._store.list_phases(self._named(listed.board), states, listed.page)
        return pb.ListPhasesResponse(
            phases=map(convert.phase_to_proto, page.items),
            next_page_token=listed.token(page.next),
            revision=page.revision,
        )

    async def PublishContract(
        self, request: pb.PublishContractRequest, context: Context
    ) -> pb.PublishContractResponse:
        board, draft, session_id = convert.contract_from_proto(request)
        contract, revision = await self._store.publish_contract(
            self._named(board), draft, session_id
        )
        return pb.PublishContractResponse(
            contract=convert.contract_to_proto(contract), revision=revision
        )

    async def PublishContracts(
        self, request: pb.PublishContractsRequest, context: Context
    ) -> pb.PublishContractsResponse:
        board, drafts, session_id = convert.contracts_from_proto(request)
        published, revision = await self._store.publish_contracts(
            self._named(board), drafts, session_id
        )
        return pb.PublishContractsResponse(published=published, revision=revision)

    async def ListContracts(
        self, request: pb.ListContractsRequest, context: Context
    ) -> pb.ListContractsResponse:
        listed, where = convert.list_contracts_from_proto(request)
        page = await self._store.list_contracts(self._named(listed.board), where, listed.page)
        return pb.ListContractsResponse(
            contracts=map(convert.contract_to_proto, page.items),
            next_page_token=listed.token(page.next),
            revision=page.revision,
        )

    async def ClaimFile(
        self, request: pb.ClaimFileRequest, context: Context
    ) -> pb.ClaimFileResponse:
        board, filepath, owner, session_id = convert.claim_from_proto(request)
        claim, revision = await self._store.claim_file(
            self._named(board), filepath, owner, session_id
        )
        return pb.ClaimFileResponse(claim=convert.claim_to_proto(claim), revision=revision)

    async def ClaimFiles(
        self, request: pb.ClaimFilesRequest, context: Context
    ) -> pb.ClaimFilesResponse:
        board, filepaths, owner, session_id = convert.claims_from_proto(request)
        claims, revision = await self._store.claim_files(
            self._named(board), filepaths, owner, session_id
        )
        return pb.ClaimFilesResponse(claims=map(convert.claim_to_proto, claims), revision=revision)

    async def ReleaseClaims(
        self, request: pb.ReleaseClaimsRequest, context: Context
    ) -> pb.ReleaseClaimsResponse:
        board, owner, filepaths = convert.release_from_proto(request)
        released, revision = await self._store.release_claims(self._named(board), owner, filepaths)
        return pb.ReleaseClaimsResponse(released=released, revision=revision)

    async def GetFileOwner(
        self, request: pb.GetFileOwnerRequest, context: Context
    ) -> pb.GetFileOwnerResponse:
        board, filepath = convert.filepath_from_proto(request)
        owner = await self._store.get_file_owner(self._named(board), filepath)
        return pb.GetFileOwnerResponse(owner=owner)

    async def ListClaims(
        self, request: pb.ListClaimsRequest, context: Context
    ) -> pb.ListClaimsResponse:
        listed, owner = convert.list_claims_from_proto(request)
        page = await self._store.list_claims(self._named(listed.board), owner, listed.page)
        return pb.ListClaimsResponse(
            claims=map(convert.claim_to_proto, page.items),
            next_page_token=listed.token(page.next),
            revision=page.revision,
        )

    async def CompletePhase(
        self, request: pb.CompletePhaseRequest, context: Context
    ) -> pb.CompletePhaseResponse:
        board, completion = convert.completion_from_proto(request)
        done, revision = await self._store.complete_phase(self._named(board), completion)
        return pb.CompletePhaseResponse(
            phase=convert.phase_to_proto(done.phase),
            published=done.published,
            released=done.released,
            revision=revision,
        )

    async def GetSnapshot(  # type: ignore[override]  # grpc takes a coroutine that writes, too
        self, request: pb.GetSnapshotRequest, context: Context
    ) -> None:
        board = convert.board_from_proto(request)
        snapshot = await self._store.snapshot(self._named(board))
        parts = await asyncio.to_thread(list, convert.snapshot_to_proto(snapshot))
        for part in parts:
            await context.write(part)

    async def Watch(  # type: ignore[override]  # as above
        self, request: pb.WatchRequest, context: Context
    ) -> None:
        watched = convert.watch_from_proto(request)
        feed = await self._feeds.of(self._named(watched.board))
        await feed.watch(watched, context.write)

    async def WaitFor(self, request: pb.WaitForRequest, context: Context) -> pb.WaitForResponse:
        board, conditions = convert.wait_from_proto(request)
        feed = await self._feeds.of(self._named(board))
        evidence, revision = await feed.wait_for(conditions)
        return convert.evidence_to_proto(revision, evidence)

    async def OpenSession(
        self, request: pb.OpenSessionRequest, context: Context
    ) -> pb.OpenSessionResponse:
        board, worker, ttl, on_expiry = convert.open_session_from_proto(request)
        session, revision = await self._store.open_session(
            self._named(board), worker, ttl, on_expiry
        )
        return pb.OpenSessionResponse(session=convert.session_to_proto(session), revision=revision)

    async def RenewSession(
        self, request: pb.RenewSessionRequest, context: Context
    ) -> pb.RenewSessionResponse:
        board, session_id = convert.session_id_from_proto(request)
        session, revision = await self._store.renew_session(self._named(board), session_id)
        return pb.RenewSessionResponse(session=convert.session_to_proto(session), revision=revision)

    async def CloseSession(
        self, request: pb.CloseSessionRequest, context: Context
    ) -> pb.CloseSessionResponse:
        board, session_id = convert.session_id_from_proto(request)
        released, revision = await self._store.close_session(self._named(board), session_id)
        return pb.CloseSessionResponse(released=released, revision=revision)

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        listed = convert.list_sessions_from_proto(request)
        page = await self._store.list_sessions(self._named(listed.board), listed.page)
        return pb.ListSessionsResponse(
            sessions=map(convert.session_to_proto, page.items),
            next_page_token=listed.token(page.next),
            revision=page.revision,
        )
