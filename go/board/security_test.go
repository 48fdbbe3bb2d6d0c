package board_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/papapumpkin/quasar-board/go/board"
)

func TestATokenTravelsWithEveryCall(t *testing.T) {
	t.Parallel()
	target := serve(t, onlyWith("Bearer secret"))
	client := dial(t, target, board.WithToken("secret"))
	if _, err := client.GetPhaseState(t.Context(), "p"); err != nil {
		t.Error(err)
	}
	_, err := board.Dial(t.Context(), target)
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: got %v, want Unauthenticated", err)
	}
}

func TestATokenIsNotSentInTheOpenToAnotherMachine(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"192.0.2.1:7447", "board.example:7447", "[2001:db8::1]:7447", "0.0.0.0:7447"} {
		_, err := board.Dial(t.Context(), target, board.WithToken("secret"))
		if err == nil || !strings.Contains(err.Error(), "WithTLS") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error that asks for WithTLS", target, err)
		}
	}
}

func TestATokenIsNotSentInTheOpenWhateverGRPCIsTold(t *testing.T) {
	t.Parallel()
	open := grpc.WithTransportCredentials(insecure.NewCredentials())
	_, err := board.Dial(t.Context(), "192.0.2.1:7447",
		board.WithToken("secret"), board.WithTLS(&tls.Config{}), board.WithDialOptions(open))
	if err == nil || !strings.Contains(err.Error(), "transport level security") {
		t.Errorf("got %v, want gRPC's refusal", err)
	}
}

func TestTLSReachesAServerWhoseCertificateIsTrusted(t *testing.T) {
	t.Parallel()
	certificate, pool := selfSigned(t)
	target := serve(t, onlyWith("Bearer secret"), grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	client := dial(t, target, board.WithTLS(&tls.Config{RootCAs: pool}), board.WithToken("secret"))
	if err := client.PublishContracts(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestACertificateThatIsNotTrustedIsToldOf(t *testing.T) {
	t.Parallel()
	certificate, _ := selfSigned(t)
	target := serve(t, &scripted{}, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	_, err := board.Dial(t.Context(), target, board.WithTLS(&tls.Config{}), board.WithDialTimeout(5*time.Second))
	if err == nil || !strings.Contains(err.Error(), target) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want an error that names the target and the certificate", err)
	}
}

// onlyWith is a server that refuses calls without this authorization.
func onlyWith(authorization string) *scripted {
	check := func(ctx context.Context) error {
		md, _ := metadata.FromIncomingContext(ctx)
		if !slices.Equal(md.Get("authorization"), []string{authorization}) {
			return status.Error(codes.Unauthenticated, "who are you?")
		}
		return nil
	}
	return &scripted{open: check, get: check, publish: check}
}

// selfSigned makes a certificate for 127.0.0.1, and a pool that trusts it.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
