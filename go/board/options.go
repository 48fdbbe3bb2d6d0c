package board

import (
	"log/slog"
	"time"

	"google.golang.org/grpc"
)

// What holds where no option says otherwise.
const (
	DefaultTarget      = "127.0.0.1:7447" // of FromEnvironment
	DefaultTimeout     = 10 * time.Second // of a call whose context has no deadline
	DefaultDialTimeout = 10 * time.Second // of Dial
)

// Option is an option of [Dial], made by the functions that return one. If two
// options set the same thing, the later one wins. The zero Option sets nothing.
type Option struct{ apply func(*options) }

type options struct {
	target      string // of the environment; "" without it
	board       string
	credentials credentials
	timeout     time.Duration
	dialTimeout time.Duration
	logger      *slog.Logger
	grpc        []grpc.DialOption
}

func newOptions(opts []Option) options {
	o := options{timeout: DefaultTimeout, dialTimeout: DefaultDialTimeout}
	for _, opt := range opts {
		if opt.apply != nil {
			opt.apply(&o)
		}
	}
	return o
}

// WithBoard names the board; without it, it is the server's default board.
func WithBoard(name string) Option {
	return Option{func(o *options) { o.board = name }}
}

// WithTimeout sets how long a call may take, its retries included, whose
// context has no deadline of its own; 0 sets no bound.
func WithTimeout(timeout time.Duration) Option {
	return Option{func(o *options) { o.timeout = timeout }}
}

// WithDialTimeout sets how long Dial waits for a server that is just starting,
// where its context does not end sooner.
func WithDialTimeout(timeout time.Duration) Option {
	return Option{func(o *options) { o.dialTimeout = timeout }}
}

// WithLogger logs when the board is lost and found again, and, at debug level,
// each call.
func WithLogger(logger *slog.Logger) Option {
	return Option{func(o *options) { o.logger = logger }}
}

// WithDialOptions passes options to gRPC, after those of this package.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return Option{func(o *options) { o.grpc = append(o.grpc, opts...) }}
}
