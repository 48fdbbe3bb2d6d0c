package board

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

const maxMessage = 64 << 20

// While there is no connection, calls wait for one until their deadline, so that
// they survive a restart of the server. connections.retry, not gRPC, retries calls
// whose connection breaks: see docs/decisions/0008-retries-of-our-own.md.
const serviceConfig = `{
	"methodConfig": [{"name": [{"service": "board.v1.BoardService"}], "waitForReady": true}]
}`

// The pauses are short, so that clients soon reconnect to a server that restarts.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// A connection that does not answer is closed after 17 s. The server allows a ping
// every 10 s.
var alive = keepalive.ClientParameters{Time: 12 * time.Second, Timeout: 5 * time.Second}

// connect makes the connection; nothing is sent before the first call. It calls
// failed whenever a connection fails, with a function that returns the cause if
// further attempts cannot remove it.
func connect(target string, o options, failed func(why func() error)) (*grpc.ClientConn, error) {
	transport, err := o.credentials.transport(target, failed)
	if err != nil {
		return nil, err
	}
	token, err := o.credentials.bearer(target, isLocal(target))
	if err != nil {
		return nil, err
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // DNS must not override ours
		grpc.WithConnectParams(reconnect),
		grpc.WithKeepaliveParams(alive),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessage),
			grpc.MaxCallSendMsgSize(maxMessage),
		),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(), // a proxy would see the tokens of unencrypted connections
	}
	if token != nil {
		opts = append(opts, grpc.WithPerRPCCredentials(token))
	}
	if o.logger != nil {
		opts = append(opts, grpc.WithChainUnaryInterceptor(logCalls(o.logger)), grpc.WithChainStreamInterceptor(logStreams(o.logger)))
	}
	conn, err := grpc.NewClient(target, append(opts, o.grpc...)...)
	if err != nil {
		return nil, fmt.Errorf("board: cannot reach %q: %w", target, err)
	}
	if o.logger != nil {
		go logConnection(o.logger.With("target", target), conn)
	}
	return conn, nil
}
