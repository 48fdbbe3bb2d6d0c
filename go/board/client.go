package board

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/proto"

	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Client is a connection to one board of a server. It implements [Board], and has
// further methods. It is safe for concurrent use.
type Client struct{ calls }

// calls makes calls to one board of a server, within a session or none. It has the
// methods that Client and Session share: all but Close, which differs.
type calls struct {
	target    string
	board     string
	sessionID string // of the session that its calls belong to; "" for none
	timeout   time.Duration
	conns     *connections
	stub      boardv1.BoardServiceClient
}

var (
	_ Board = (*Client)(nil)
	_ Board = (*Session)(nil)
)

// Dial connects to the board at target, `HOST:PORT`, `HOST` (port 7447) or
// `unix:PATH`, and opens it. A board that does not exist is created; if the token
// may not do that, the board must be open already.
//
// If no server answers, Dial waits for one that is starting, until ctx ends or the
// time of [WithDialTimeout] has passed, and then returns [ErrUnavailable]. Errors
// that waiting cannot remove are returned at once: [ErrBadCredentials],
// [ErrUnauthenticated] and [ErrPermissionDenied].
func Dial(ctx context.Context, target string, opts ...Option) (*Client, error) {
	o := newOptions(opts)
	target, err := normalized(cmp.Or(target, o.target))
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx, o.dialTimeout)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	c := &Client{calls{target: target, board: o.board, timeout: o.timeout}}
	c.conns, err = connected(func() (*grpc.ClientConn, error) {
		return connect(target, o, func(why func() error) {
			if ctx.Err() != nil || c.conns.state() != connectivity.TransientFailure {
				return // Dial has ended, or another address of the host may work
			}
			if err := why(); err != nil {
				giveUp(err)
			}
		})
	})
	if err != nil {
		return nil, err
	}
	c.stub = boardv1.NewBoardServiceClient(c.conns)
	if err := c.open(ctx); err != nil {
		_ = c.Close() // err is the cause
		if why := context.Cause(ctx); errors.Is(why, ErrBadCredentials) {
			return nil, why
		}
		return nil, err
	}
	return c, nil
}

// open opens the board, or checks that it is open if the token may not open it.
func (c *calls) open(ctx context.Context) error {
	_, err := c.OpenBoard(ctx)
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return fmt.Errorf("the board at %s: %w; ask its operator for one, and give Dial WithTokenFile", c.target, err)
	case !errors.Is(err, ErrPermissionDenied):
		return err
	}
	_, missing := call(ctx, c, c.stub.ListPhases, &boardv1.ListPhasesRequest{Board: c.board, PageSize: 1})
	if errors.Is(missing, ErrBoardNotFound) {
		return fmt.Errorf("%w: %w", missing, err)
	}
	return missing
}

// On returns a client of another board of the same server, on the same
// connection. If the board may not exist yet, call OpenBoard. The client's calls
// belong to no session.
func (c *calls) On(board string) *Client {
	other := *c
	other.board, other.sessionID = board, ""
	return &Client{other}
}

// Close closes the connection, for every client that shares it. Calls in progress
// fail with ErrClosed. Close may be repeated, and does nothing on a nil client.
func (c *Client) Close() error {
	if c == nil {
		return nil
	}
	return c.conns.close()
}

func (c *calls) closed() bool { return c.conns.isClosed() }

// unreachable reports whether there is no connection, although the client has tried
// to make one.
func (c *calls) unreachable() bool {
	state := c.conns.state()
	return state == connectivity.TransientFailure || state == connectivity.Connecting
}

// call makes one call. The client's timeout bounds it if ctx has no deadline.
func call[Request proto.Message, Response any](
	ctx context.Context,
	c *calls,
	method func(context.Context, Request, ...grpc.CallOption) (Response, error),
	request Request,
) (Response, error) {
	callCtx, cancel := c.bound(ctx)
	defer cancel()
	response, err := method(callCtx, request)
	if err != nil {
		return response, c.failure(ctx, request, err)
	}
	return response, nil
}

// bound gives ctx the client's timeout if ctx has no deadline.
func (c *calls) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return bounded(ctx, c.timeout)
}

// bounded gives ctx a deadline, unless timeout is 0.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}
