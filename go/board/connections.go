package board

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
)

// connections carries the calls of a client and of those derived from it, over one
// connection, and over a second after switchFrom. It retries unary calls.
type connections struct {
	connect func() (*grpc.ClientConn, error)

	mu      sync.Mutex
	conns   []*grpc.ClientConn // one or two
	current int                // index of the connection that new calls use
	closed  bool
}

// connected makes the first connection.
func connected(connect func() (*grpc.ClientConn, error)) (*connections, error) {
	conn, err := connect()
	if err != nil {
		return nil, err
	}
	return &connections{connect: connect, conns: []*grpc.ClientConn{conn}}, nil
}

// Invoke makes a unary call, and retries it while the server is unavailable. All
// attempts of a write have the same idempotency key.
func (c *connections) Invoke(ctx context.Context, method string, request, reply any, opts ...grpc.CallOption) error {
	if keyed[method] {
		ctx = metadata.AppendToOutgoingContext(ctx, "board-request-id", newRequestID())
	}
	return c.retry(ctx, attemptsOf(method), func() error {
		return c.conn().Invoke(ctx, method, request, reply, opts...)
	})
}

// NewStream begins a streaming call.
func (c *connections) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.conn().NewStream(ctx, desc, method, opts...)
}

// conn returns the connection that new calls use.
func (c *connections) conn() *grpc.ClientConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conns[c.current]
}

// index returns the index of that connection, for switchFrom.
func (c *connections) index() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// switchFrom makes new calls use the other connection, unless that happened since
// index returned this index. Calls in progress stay on their connection.
func (c *connections) switchFrom(index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.current != index {
		return
	}
	if len(c.conns) == 1 {
		conn, err := c.connect()
		if err != nil {
			return // the files of the credentials cannot be read now
		}
		c.conns = append(c.conns, conn)
	}
	c.current = 1 - index
}

func (c *connections) state() connectivity.State { return c.conn().GetState() }

func (c *connections) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// close closes both connections. It may be repeated.
func (c *connections) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	var failed error
	for _, conn := range c.conns {
		if err := conn.Close(); err != nil {
			failed = err
		}
	}
	return failed
}
