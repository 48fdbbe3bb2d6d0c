package board

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

const maxMessage = 64 << 20

// While there is no connection, calls wait for one within their deadline: that
// is how they ride over a restart of the server. Retries are for calls that
// were cut off, for a server that says it cannot serve now, and for calls that
// it had taken but not begun when it was told to stop: those it cancels.
const serviceConfig = `{
	"methodConfig": [{
		"name": [{"service": "board.v1.BoardService"}],
		"waitForReady": true,
		"retryPolicy": {
			"maxAttempts": 5,
			"initialBackoff": "0.1s",
			"maxBackoff": "1s",
			"backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
		}
	}]
}`

// A server that restarts is found again soon.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// A peer that is gone without a word is noticed.
var alive = keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}

// connect makes the connection; nothing is sent before the first call. Whenever
// it fails, failed is told, and may ask why.
func connect(target string, o options, failed func(why func() error)) (*grpc.ClientConn, error) {
	local, err := isLocal(target)
	if err != nil {
		return nil, err
	}
	transport, err := o.credentials.transport(target, failed)
	if err != nil {
		return nil, err
	}
	token, err := o.credentials.bearer(target, local)
	if err != nil {
		return nil, err
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(), // one that DNS hands out is not ours
		grpc.WithConnectParams(reconnect),
		grpc.WithKeepaliveParams(alive),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessage),
			grpc.MaxCallSendMsgSize(maxMessage),
			grpc.MaxRetryRPCBufferSize(maxMessage), // what is not kept cannot be sent again
		),
		grpc.WithChainUnaryInterceptor(identifyWrites),
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

// isLocal tells whether the target is on this machine; the error says that it
// is no target at all.
func isLocal(target string) (bool, error) {
	if isUnix(target) && target != unixPrefix {
		return true, nil
	}
	host, port, err := net.SplitHostPort(target)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return false, fmt.Errorf("board: %q is neither HOST:PORT nor unix:PATH", target)
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback(), nil
}

const unixPrefix = "unix:"

func isUnix(target string) bool { return strings.HasPrefix(target, unixPrefix) }
