package board

import (
	"context"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// ClaimFile implements [Board]. A conflict is a [*FileAlreadyClaimedError].
func (c *calls) ClaimFile(ctx context.Context, filepath, ownerPhaseID string) error {
	request := &boardv1.ClaimFileRequest{Board: c.board, Filepath: filepath, Owner: ownerPhaseID, SessionId: c.sessionID}
	_, err := call(ctx, c, c.stub.ClaimFile, request)
	return err
}

// ClaimFiles claims the files for the phase, all or none, each as ClaimFile
// does. It returns one claim for each path, in that order. If other phases have
// some of the files, the [*FileAlreadyClaimedError] names those.
func (c *calls) ClaimFiles(ctx context.Context, filepaths []string, ownerPhaseID string) ([]FileClaim, error) {
	request := &boardv1.ClaimFilesRequest{Board: c.board, Filepaths: filepaths, Owner: ownerPhaseID, SessionId: c.sessionID}
	response, err := call(ctx, c, c.stub.ClaimFiles, request)
	if err != nil {
		return nil, err
	}
	return each(response.GetClaims(), claim), nil
}

// ReleaseClaims implements [Board].
func (c *calls) ReleaseClaims(ctx context.Context, ownerPhaseID string) error {
	_, err := call(ctx, c, c.stub.ReleaseClaims, &boardv1.ReleaseClaimsRequest{Board: c.board, Owner: ownerPhaseID})
	return err
}

// ReleaseFiles releases those of the files that the phase has claimed, and returns
// how many it released. Without files it does nothing.
func (c *calls) ReleaseFiles(ctx context.Context, ownerPhaseID string, filepaths ...string) (int, error) {
	if len(filepaths) == 0 { // on the wire, none means all
		return 0, nil
	}
	request := &boardv1.ReleaseClaimsRequest{Board: c.board, Owner: ownerPhaseID, Filepaths: filepaths}
	response, err := call(ctx, c, c.stub.ReleaseClaims, request)
	return int(response.GetReleased()), err
}

// FileOwner implements [Board].
func (c *calls) FileOwner(ctx context.Context, filepath string) (string, error) {
	response, err := call(ctx, c, c.stub.GetFileOwner, &boardv1.GetFileOwnerRequest{Board: c.board, Filepath: filepath})
	return response.GetOwner(), err
}

// ClaimsFor implements [Board].
func (c *calls) ClaimsFor(ctx context.Context, phaseID string) ([]string, error) {
	claims, err := c.listClaims(ctx, &boardv1.ListClaimsRequest{Board: c.board, Owner: &phaseID})
	return each(claims, func(claim FileClaim) string { return claim.Filepath }), err
}

// ListClaims returns the claims of one phase, or of all when ownerPhaseID is
// "", in the byte order of their paths.
func (c *calls) ListClaims(ctx context.Context, ownerPhaseID string) ([]FileClaim, error) {
	return c.listClaims(ctx, &boardv1.ListClaimsRequest{Board: c.board, Owner: ifSet(ownerPhaseID)})
}

func (c *calls) listClaims(ctx context.Context, request *boardv1.ListClaimsRequest) ([]FileClaim, error) {
	return pages(ctx, c, func(ctx context.Context, token string) ([]FileClaim, string, error) {
		request.PageToken = token
		response, err := call(ctx, c, c.stub.ListClaims, request)
		return each(response.GetClaims(), claim), response.GetNextPageToken(), err
	})
}

func claim(c *boardv1.FileClaim) FileClaim {
	return FileClaim{c.GetFilepath(), c.GetOwner(), c.GetClaimedAt().AsTime(), c.GetSessionId()}
}
