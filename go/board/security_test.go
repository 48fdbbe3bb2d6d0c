package board_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/papapumpkin/quasar-board/go/board"
	"github.com/papapumpkin/quasar-board/go/internal/servertest"
)

// patient is a dial timeout that no test reaches: errors must be returned earlier.
const patient = time.Minute

// authenticating has three servers that authenticate their callers, and the
// credentials of some callers.
type authenticating struct {
	unencrypted, encrypted, mutual *servertest.Server

	ca     *authority
	tokens string // path of the servers' file
	secret map[string]string
}

func TestAServerThatAuthenticatesItsCallers(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t), t.TempDir()
	g := &authenticating{ca: ca, tokens: filepath.Join(dir, "tokens.toml"), secret: map[string]string{}}
	for name, arguments := range map[string][]string{
		"dispatcher": {"--role", "dispatcher"},
		"revoked":    {"--role", "dispatcher"},
		"reader":     {"--role", "reader"},
		"elsewhere":  {"--role", "worker", "--board", "another"},
		"listed":     {"--role", "dispatcher", "--certificate", "worker-7"},
	} {
		g.secret[name] = servertest.Token(t, g.tokens, name, arguments...)
	}
	pair := ca.issue("server")
	tls := []string{"--tls-cert", pair.cert, "--tls-key", pair.key, "--tokens", g.tokens}
	g.unencrypted = servertest.StartOn(t, []string{"127.0.0.1:0", "unix:" + filepath.Join(dir, "board.sock")}, "--tokens", g.tokens)
	g.encrypted = servertest.StartOn(t, []string{"127.0.0.1:0", "localhost:0", "127.0.0.2:0"}, tls...)
	g.mutual = servertest.Start(t, append(tls, "--client-ca", ca.file)...)

	t.Run("accepts each credential at each listener", g.acceptsEachCredential)
	t.Run("accepts a certificate instead of a token", g.acceptsACertificate)
	t.Run("gets the certificate that the files have when a connection is made", g.usesTheNewCertificate)
	t.Run("reports at once why client and server do not trust each other", g.reportsTheCause)
	t.Run("reports the role that is needed", g.reportsTheRole)
	t.Run("loses no call when a token is replaced", g.rereadsTheToken)
}

func (g *authenticating) acceptsEachCredential(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, g.secret["dispatcher"]+"\n")
	trusting := []board.Option{board.WithCA(g.ca.file)}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, strings.TrimPrefix(g.unencrypted.Targets[1], "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	for target, encryption := range map[string][]board.Option{
		g.unencrypted.Targets[0]: nil,
		g.unencrypted.Targets[1]: {board.WithTLS(nil)}, // a socket is not encrypted
		"unix:" + relative:       nil,
		g.encrypted.Targets[0]:   trusting,
		g.encrypted.Targets[1]:   {board.WithTLS(&tls.Config{RootCAs: poolOf(t, g.ca.file)})},
	} {
		for _, shown := range []board.Option{board.WithToken(g.secret["dispatcher"]), board.WithTokenFile(file)} {
			client := dial(t, target, append(encryption, shown)...)
			if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
				t.Errorf("%s: %v", target, err)
			}
		}
		wantRefused(t, board.ErrUnauthenticated, "WithTokenFile", target, encryption...)
		wantRefused(t, board.ErrUnauthenticated, "does not know this token", target, append(encryption, board.WithToken("stranger"))...)
	}
}

func (g *authenticating) acceptsACertificate(t *testing.T) {
	t.Parallel()
	target, trusting := g.mutual.Target, board.WithCA(g.ca.file)
	listed, unlisted, foreign := g.ca.issue("worker-7"), g.ca.issue("worker-8"), newAuthority(t).issue("worker-7")
	client := dial(t, target, trusting, board.WithCertificate(listed.cert, listed.key))
	if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
		t.Error(err)
	}
	inMemory, err := tls.LoadX509KeyPair(listed.cert, listed.key)
	if err != nil {
		t.Fatal(err)
	}
	dial(t, target, board.WithTLS(&tls.Config{RootCAs: poolOf(t, g.ca.file), Certificates: []tls.Certificate{inMemory}}))

	wantRefused(t, board.ErrUnauthenticated, `no token of the server is for a certificate of these names: "worker-8"`, target, trusting, board.WithCertificate(unlisted.cert, unlisted.key))
	wantRefused(t, board.ErrBadCredentials, "refuses the client's certificate", target, trusting, board.WithCertificate(foreign.cert, foreign.key))
	wantRefused(t, board.ErrBadCredentials, "give Dial WithCertificate", target, trusting)
}

func (g *authenticating) reportsTheCause(t *testing.T) {
	t.Parallel()
	target := g.encrypted.Target
	untrusted := wantRefused(t, board.ErrBadCredentials, "WithCA", target, board.WithCA(newAuthority(t).file))
	if unknown := (x509.UnknownAuthorityError{}); !errors.As(untrusted, &unknown) {
		t.Errorf("got %v, want an x509.UnknownAuthorityError", untrusted)
	}
	wantRefused(t, board.ErrBadCredentials, "is not trusted", target, board.WithTLS(nil))
	wantRefused(t, board.ErrBadCredentials, "not 127.0.0.2", g.encrypted.Targets[2], board.WithCA(g.ca.file))
	wantRefused(t, board.ErrBadCredentials, "speaks TLS; give Dial WithTLS", target)
	wantRefused(t, board.ErrBadCredentials, "does not speak TLS", g.unencrypted.Target, board.WithCA(g.ca.file))
}

func (g *authenticating) reportsTheRole(t *testing.T) {
	t.Parallel()
	target, reader := g.unencrypted.Target, board.WithToken(g.secret["reader"])
	absent := wantRefused(t, board.ErrPermissionDenied, "this needs dispatcher", target, board.WithBoard("absent"), reader)
	if !errors.Is(absent, board.ErrBoardNotFound) {
		t.Errorf("got %v, want ErrBoardNotFound too", absent)
	}
	for _, name := range []string{"absent", ""} {
		wantRefused(t, board.ErrPermissionDenied, "is not for this board",
			target, board.WithBoard(name), board.WithToken(g.secret["elsewhere"]))
	}
	client := dial(t, target, reader) // of an existing board
	if _, err := client.AllContracts(t.Context()); err != nil {
		t.Error(err)
	}
	err := client.SetPhaseState(t.Context(), "p", board.StateDone)
	if !errors.Is(err, board.ErrPermissionDenied) || !strings.Contains(err.Error(), "this needs worker") {
		t.Errorf("got %v, want ErrPermissionDenied", err)
	}
}

func (g *authenticating) rereadsTheToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	padded := func(name string) string { return fmt.Sprintf("%-200s", g.secret[name]) } // all of one size
	write(t, file, padded("revoked"))
	client := dial(t, g.unencrypted.Target, board.WithTokenFile(file))
	old := dial(t, g.unencrypted.Target, board.WithToken(g.secret["revoked"]))
	found, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(padded("dispatcher")), 0o600); err != nil { // in place
		t.Fatal(err)
	}
	if err := os.Chtimes(file, found.ModTime(), found.ModTime()); err != nil { // within one tick of the clock
		t.Fatal(err)
	}
	write(t, g.tokens, strings.Replace(read(t, g.tokens), `name = "revoked"`, `name = "renamed"`, 1))
	var revoked error
	for revoked == nil {
		if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
			t.Fatal(err)
		}
		revoked = old.SetPhaseState(t.Context(), "q", board.StateDone)
	}
	if !errors.Is(revoked, board.ErrUnauthenticated) {
		t.Errorf("the old token: got %v, want ErrUnauthenticated", revoked)
	}
	for _, empty := range []func() error{
		func() error { return os.Truncate(file, 0) },
		func() error { return os.Remove(file) },
	} {
		if err := empty(); err != nil {
			t.Fatal(err)
		}
		if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
			t.Errorf("while the file holds no token: %v", err)
		}
	}
}

// A certificate may be valid for a day while its client runs for weeks.
func (g *authenticating) usesTheNewCertificate(t *testing.T) {
	t.Parallel()
	between, own := newNetwork(t, g.mutual.Target), g.ca.issue("worker-7")
	client := dial(t, between.target, board.WithCA(g.ca.file), board.WithCertificate(own.cert, own.key))
	again := func() error {
		between.cut()
		between.mend()
		return client.SetPhaseState(t.Context(), "p", board.StateDone)
	}
	write(t, own.cert, "half")
	if err := again(); err != nil {
		t.Errorf("while the file is half written: %v", err)
	}
	g.ca.issueInto(own, "worker-8")
	if err := again(); !errors.Is(err, board.ErrUnauthenticated) {
		t.Errorf("got %v, want ErrUnauthenticated for the new certificate, which no token lists", err)
	}
}

func TestDialWaitsForAServerThatClosesConnectionsWhileItStarts(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	own := ca.issue("server")
	certificate, err := tls.LoadX509KeyPair(own.cert, own.key)
	if err != nil {
		t.Fatal(err)
	}
	secured := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}}
	for name, encrypted := range map[string]bool{"not encrypted": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			target, options := listener.Addr().String(), []board.Option{board.WithDialTimeout(patient)}
			if encrypted {
				listener, options = tls.NewListener(listener, secured), append(options, board.WithCA(ca.file))
			}
			dialled := make(chan error)
			go func() {
				client, err := board.Dial(t.Context(), target, options...)
				dialled <- errors.Join(err, client.Close())
			}()
			for range 4 {
				conn, err := listener.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if encrypted {
					_ = conn.(*tls.Conn).HandshakeContext(t.Context())
				}
				_ = conn.Close()
			}
			serveOn(t, listener, &scripted{})
			if err := <-dialled; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestATokenIsNotSentUnencryptedToAnotherMachine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "secret")
	for _, target := range []string{"192.0.2.1:7447", "board.example:7447", "[2001:db8::1]:7447", "0.0.0.0:7447"} {
		for _, shown := range []board.Option{board.WithToken("secret"), board.WithTokenFile(file)} {
			err := wantRefused(t, board.ErrBadCredentials, "WithTLS", target, shown)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%v holds the token", err)
			}
		}
	}
}

func TestATokenIsNotSentUnencryptedWhateverTheDialOptions(t *testing.T) {
	t.Parallel()
	open := grpc.WithTransportCredentials(insecure.NewCredentials())
	_, err := board.Dial(t.Context(), "192.0.2.1:7447",
		board.WithToken("secret"), board.WithTLS(nil), board.WithDialOptions(open))
	if err == nil || !strings.Contains(err.Error(), "transport level security") {
		t.Errorf("got %v, want gRPC's refusal", err)
	}
}

func TestCredentialsThatCannotBeUsedAreRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing, empty, rubbish := filepath.Join(dir, "missing"), filepath.Join(dir, "empty"), filepath.Join(dir, "rubbish")
	write(t, empty, "")
	write(t, rubbish, "two words")
	ca := newAuthority(t)
	one, other := ca.issue("one"), ca.issue("other")
	for _, refused := range []struct {
		says  string
		cause error
		shown board.Option
	}{
		{missing, fs.ErrNotExist, board.WithCA(missing)},
		{empty + " holds no certificate", nil, board.WithCA(empty)},
		{rubbish + " holds no certificate", nil, board.WithCA(rubbish)},
		{missing, fs.ErrNotExist, board.WithCertificate(missing, one.key)},
		{missing, fs.ErrNotExist, board.WithCertificate(one.cert, missing)},
		{rubbish, nil, board.WithCertificate(rubbish, one.key)},
		{other.key, nil, board.WithCertificate(one.cert, other.key)},
		{"needs its key", nil, board.WithCertificate(one.cert, "")},
		{"needs its key", nil, board.WithCertificate("", one.key)},
		{missing, fs.ErrNotExist, board.WithTokenFile(missing)},
		{dir, nil, board.WithTokenFile(dir)},
		{empty + " holds no token", nil, board.WithTokenFile(empty)},
		{rubbish + " holds no token", nil, board.WithTokenFile(rubbish)},
		{"one word of printable ASCII", nil, board.WithToken("two words")},
		{"one word of printable ASCII", nil, board.WithToken("schlüssel")},
	} {
		err := wantRefused(t, board.ErrBadCredentials, refused.says, "127.0.0.1:1", refused.shown)
		if refused.cause != nil && !errors.Is(err, refused.cause) {
			t.Errorf("%v is not %v", err, refused.cause)
		}
	}
}

// Opening a FIFO without a writer would wait for ever.
func TestACredentialsFileThatIsNotARegularFileIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large")
	write(t, large, strings.Repeat("x", 4<<20+1))
	one := newAuthority(t).issue("one")
	for _, given := range []board.Option{
		board.WithCA(fifo), board.WithCertificate(fifo, one.key), board.WithCertificate(one.cert, fifo), board.WithTokenFile(fifo),
	} {
		wantRefused(t, board.ErrBadCredentials, fifo+": not a regular file", "127.0.0.1:1", given)
	}
	wantRefused(t, board.ErrBadCredentials, large+": larger than 4194304 bytes", "127.0.0.1:1", board.WithTokenFile(large))
}

func TestIfATokenFileBecomesAFIFOItsLastTokenRemainsInUse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "secret")
	client := fresh(t, board.WithTokenFile(file))
	if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := client.SetPhaseState(t.Context(), "p", board.StateDone); err != nil {
		t.Error(err)
	}
}

// wantRefused checks that Dial fails at once, with a line that contains says.
func wantRefused(t *testing.T, kind error, says, target string, opts ...board.Option) error {
	t.Helper()
	client, err := board.Dial(t.Context(), target, append(slices.Clone(opts), board.WithDialTimeout(patient))...)
	if client != nil {
		t.Errorf("%s: got a client, want an error that says %q", target, says)
	}
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: got %v, want %v that says %q", target, err, kind, says)
	}
	return err
}

func poolOf(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(read(t, file))) {
		t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
