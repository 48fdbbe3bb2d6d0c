package board

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// logCalls logs each unary call, but not its contents.
func logCalls(logger *slog.Logger) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		start := time.Now()
		err := invoke(ctx, method, req, reply, conn, opts...)
		logger.DebugContext(ctx, "board call", "method", method, "code", status.Code(err), "took", time.Since(start))
		return err
	}
}

// logStreams logs each streaming call when it has ended.
func logStreams(logger *slog.Logger) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		start := time.Now()
		return stream(ctx, desc, conn, method, append(opts, grpc.OnFinish(func(err error) {
			logger.DebugContext(ctx, "board call", "method", method, "code", status.Code(err), "took", time.Since(start))
		}))...)
	}
}

// logConnection logs when the connection is made and lost, until conn is closed.
func logConnection(logger *slog.Logger, conn *grpc.ClientConn) {
	answers := false
	for state := conn.GetState(); state != connectivity.Shutdown; state = conn.GetState() {
		switch {
		case state == connectivity.Ready && !answers:
			answers = true
			logger.Info("board connected")
		case state == connectivity.TransientFailure && answers:
			answers = false
			logger.Warn("board disconnected; calls wait for a connection")
		}
		conn.WaitForStateChange(context.Background(), state)
	}
}
