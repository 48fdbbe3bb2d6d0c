package board_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/boardv1"
)

// Not parallel: it changes the environment of the process.
func TestFromEnvironmentReadsEveryVariable(t *testing.T) {
	ca := newAuthority(t)
	own, tokenFile := ca.issue("dispatcher"), filepath.Join(t.TempDir(), "token")
	write(t, tokenFile, "of-the-file")
	target, seen := serveRecordingCallers(t, ca)
	wantSeen := func(want, target string, opts ...board.Option) {
		t.Helper()
		dial(t, target, opts...)
		if *seen != want {
			t.Errorf("the server saw %q, want %q", *seen, want)
		}
	}
	t.Setenv("BOARD_TARGET", target)
	t.Setenv("BOARD_NAME", "of-the-environment")
	t.Setenv("BOARD_TLS_CA", ca.file)
	t.Setenv("BOARD_TLS_CERT", own.cert)
	t.Setenv("BOARD_TLS_KEY", own.key)
	t.Setenv("BOARD_TOKEN_FILE", tokenFile)
	t.Setenv("BOARD_TOKEN", "")
	wantSeen("of-the-environment: dispatcher, Bearer of-the-file", "", board.FromEnvironment())
	*seen = ""
	ExampleFromEnvironment()
	if *seen != "of-the-environment: dispatcher, Bearer of-the-file" {
		t.Errorf("the example: the server saw %q", *seen)
	}
	wantSeen("my-own: dispatcher, Bearer mine", target, board.FromEnvironment(), board.WithBoard("my-own"), board.WithToken("mine"))

	t.Setenv("BOARD_TOKEN", "itself")
	wantRefused(t, board.ErrBadCredentials, "BOARD_TOKEN and BOARD_TOKEN_FILE", "", board.FromEnvironment())
	t.Setenv("BOARD_TOKEN_FILE", "")
	wantSeen("of-the-environment: dispatcher, Bearer itself", "", board.FromEnvironment())

	t.Setenv("BOARD_TLS_CERT", "")
	wantRefused(t, board.ErrBadCredentials, "needs its key", "", board.FromEnvironment())
	t.Setenv("BOARD_TLS_KEY", "")
	t.Setenv("BOARD_TLS_CA", "")
	for value, says := range map[string]string{"0": "speaks TLS", "1": "is not trusted", "True": "is not trusted", "y": "is not trusted", "enabled": `BOARD_TLS must be 1 or 0 and not "enabled"`} {
		t.Setenv("BOARD_TLS", value)
		wantRefused(t, board.ErrBadCredentials, says, "", board.FromEnvironment())
	}
}

// serveRecordingCallers serves with mutual TLS; seen has the board, the certificate's
// name and the token of the last call.
func serveRecordingCallers(t *testing.T, ca *authority) (target string, seen *string) {
	t.Helper()
	pair := ca.issue("server")
	certificate, err := tls.LoadX509KeyPair(pair.cert, pair.key)
	if err != nil {
		t.Fatal(err)
	}
	seen = new(string)
	look := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		caller, _ := peer.FromContext(ctx)
		name := caller.AuthInfo.(credentials.TLSInfo).State.PeerCertificates[0].Subject.CommonName
		token := metadata.ValueFromIncomingContext(ctx, "authorization")[0]
		*seen = fmt.Sprintf("%s: %s, %s", request.(*boardv1.OpenBoardRequest).GetBoard(), name, token)
		return handle(ctx, request)
	}
	mutual := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    poolOf(t, ca.file),
	}
	return serve(t, &scripted{}, grpc.Creds(credentials.NewTLS(mutual)), grpc.UnaryInterceptor(look)), seen
}

func TestFromEnvironmentWithoutVariablesUsesTheDefaultTarget(t *testing.T) {
	for _, variable := range []string{"TARGET", "NAME", "TLS", "TLS_CA", "TLS_CERT", "TLS_KEY", "TOKEN", "TOKEN_FILE"} {
		t.Setenv("BOARD_"+variable, "")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var dialled atomic.Value
	dialer := func(_ context.Context, address string) (net.Conn, error) {
		dialled.Store(address)
		cancel()
		return nil, ctx.Err()
	}
	_, err := board.Dial(ctx, "", board.FromEnvironment(), board.WithDialOptions(grpc.WithContextDialer(dialer)))
	if dialled.Load() != "127.0.0.1:7447" || !errors.Is(err, context.Canceled) {
		t.Errorf("dialled %v, got %v", dialled.Load(), err)
	}
}
