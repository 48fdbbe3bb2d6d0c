package board

import (
	"log/slog"
	"time"

	"google.golang.org/grpc"
)

// Defaults of the options.
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

// WithBoard sets the name of the board. Without it, the server chooses its default
// board.
func WithBoard(name string) Option {
	return Option{func(o *options) { o.board = name }}
}

// WithTimeout sets how long a call may take, its retries included, if its context
// has no deadline; 0 sets no limit.
func WithTimeout(timeout time.Duration) Option {
	return Option{func(o *options) { o.timeout = timeout }}
}

// WithDialTimeout sets how long Dial waits for a server that is just starting. Its
// context may end sooner.
func WithDialTimeout(timeout time.Duration) Option {
	return Option{func(o *options) { o.dialTimeout = timeout }}
}

// WithLogger logs when the connection is made and lost, and each call at debug
// level.
func WithLogger(logger *slog.Logger) Option {
	return Option{func(o *options) { o.logger = logger }}
}

// WithDialOptions passes options to gRPC, after those of this package.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return Option{func(o *options) { o.grpc = append(o.grpc, opts...) }}
}
