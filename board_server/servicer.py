"""BoardServicer: one method per RPC. Convert, await the store, convert."""

from typing import Any

import grpc

from board_client.v1 import board_pb2 as pb
from board_client.v1.board_pb2_grpc import BoardServiceServicer
from board_server import convert
from board_server.store import Store

Context = grpc.aio.ServicerContext[Any, Any]


class BoardServicer(BoardServiceServicer):
    """The service over a store. A request that names no board is for the default board."""

    def __init__(self, store: Store, default_board: str) -> None:
        self._store = store
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
        board, draft = convert.contract_from_proto(request)
        contract, revision = await self._store.publish_contract(self._named(board), draft)
        return pb.PublishContractResponse(
            contract=convert.contract_to_proto(contract), revision=revision
        )

    async def PublishContracts(
        self, request: pb.PublishContractsRequest, context: Context
    ) -> pb.PublishContractsResponse:
        board, drafts = convert.contracts_from_proto(request)
        published, revision = await self._store.publish_contracts(self._named(board), drafts)
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
        board, filepath, owner = convert.claim_from_proto(request)
        claim, revision = await self._store.claim_file(self._named(board), filepath, owner)
        return pb.ClaimFileResponse(claim=convert.claim_to_proto(claim), revision=revision)

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
