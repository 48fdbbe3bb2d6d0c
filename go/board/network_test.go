package board_test

import (
	"net"
	"sync"
	"testing"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// network is a proxy between a client and a server that fails on request.
type network struct {
	target string // what Dial takes

	listener net.Listener
	server   string
	mu       sync.Mutex
	conns    map[net.Conn]bool
	dead     map[net.Conn]bool // carry nothing more, and stay open
	silent   bool              // no reply comes through
	down     bool              // nothing does
}

// far returns a client of the shared server's default board, or another, and what
// lies between them.
func far(t *testing.T, opts ...board.Option) (*board.Client, *network) {
	t.Helper()
	between := newNetwork(t, servertest.Shared(t).Target)
	return dial(t, between.target, opts...), between
}

func newNetwork(t *testing.T, server string) *network {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{target: listener.Addr().String(), listener: listener, server: server, conns: map[net.Conn]bool{}, dead: map[net.Conn]bool{}}
	var accepting sync.WaitGroup
	accepting.Go(n.accept)
	t.Cleanup(func() {
		n.cut()
		_ = listener.Close()
		accepting.Wait()
	})
	return n
}

// loseReplies lets requests through, and nothing of what the server sends back.
func (n *network) loseReplies() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent = true
}

// silence lets nothing more through on the connections there are; they stay
// open, and those that follow are good ones.
func (n *network) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.conns {
		n.dead[conn] = true
	}
}

// cut breaks all connections, those too that follow, until mend.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for conn := range n.conns {
		_ = conn.Close()
	}
}

// mend makes the connections that follow good ones.
func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent, n.down = false, false
}

func (n *network) accept() {
	var links sync.WaitGroup
	defer links.Wait()
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return
		}
		server, ok := n.connect(client)
		if !ok {
			_ = client.Close()
			continue
		}
		links.Go(func() { n.carry(client, server, false) })
		links.Go(func() { n.carry(server, client, true) })
	}
}

// connect makes the other half of a connection, unless the network is down.
func (n *network) connect(client net.Conn) (net.Conn, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, false
	}
	server, err := net.Dial("tcp", n.server)
	if err != nil {
		return nil, false
	}
	n.conns[client], n.conns[server] = true, true
	return server, true
}

func (n *network) carry(from, to net.Conn, replies bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	piece := make([]byte, 1<<15)
	for {
		count, err := from.Read(piece)
		n.mu.Lock()
		lost := replies && n.silent || n.dead[from]
		n.mu.Unlock()
		if !lost {
			if _, err := to.Write(piece[:count]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
