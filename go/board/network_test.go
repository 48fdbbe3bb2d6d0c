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
	target string // the proxy's address, as Dial takes it

	listener net.Listener
	server   string
	mu       sync.Mutex
	conns    map[net.Conn]bool
	dead     map[net.Conn]bool // stay open and carry nothing
	silent   bool              // replies are dropped
	down     bool              // connections are refused
}

// far returns a client of the shared server, and the network between the two.
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

// loseReplies passes requests on and drops replies, until mend.
func (n *network) loseReplies() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent = true
}

// silence drops everything on the present connections, which stay open. Later
// connections work.
func (n *network) silence() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for conn := range n.conns {
		n.dead[conn] = true
	}
}

// cut closes all connections, and refuses new ones until mend.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for conn := range n.conns {
		_ = conn.Close()
	}
}

// mend makes later connections work.
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

// connect connects to the server for a client, unless the network is down.
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
	buffer := make([]byte, 1<<15)
	for {
		count, err := from.Read(buffer)
		n.mu.Lock()
		dropped := replies && n.silent || n.dead[from]
		n.mu.Unlock()
		if !dropped {
			if _, err := to.Write(buffer[:count]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
