package board

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"time"

	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// probing bounds how long it may take to find out why a connection failed.
const probing = 2 * time.Second

// judged are transport credentials that report each connection that failed before
// the server's first frame. gRPC tries again whatever the cause; why returns the
// causes that no further attempt removes.
type judged struct {
	grpccredentials.TransportCredentials
	why    func(ctx context.Context, err error) error // returns nil if another attempt may succeed
	failed func(why func() error)
}

// ClientHandshake does the handshake of a connection.
func (j judged) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, grpccredentials.AuthInfo, error) {
	failed := func(err error) {
		if !errors.Is(err, net.ErrClosed) { // not by this client
			j.failed(func() error { return j.why(ctx, err) })
		}
	}
	conn, info, err := j.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		failed(err)
		return nil, nil, err
	}
	return &ungreeted{Conn: conn, failed: failed}, info, nil
}

// Clone returns a copy.
func (j judged) Clone() grpccredentials.TransportCredentials {
	j.TransportCredentials = j.TransportCredentials.Clone()
	return j
}

// ungreeted is a connection whose server has not sent anything yet. In HTTP/2 the
// server sends first; one that refuses our certificate, or expects TLS, closes the
// connection instead.
type ungreeted struct {
	net.Conn
	settled atomic.Bool
	failed  func(error)
}

// Read reads what the server sends.
func (u *ungreeted) Read(b []byte) (int, error) {
	n, err := u.Conn.Read(b)
	u.settle(n > 0, err)
	return n, err
}

// Write sends to the server. It may fail before Read does.
func (u *ungreeted) Write(b []byte) (int, error) {
	n, err := u.Conn.Write(b)
	u.settle(false, err)
	return n, err
}

func (u *ungreeted) settle(greeted bool, err error) {
	if u.settled.Load() || !greeted && err == nil {
		return
	}
	if u.settled.CompareAndSwap(false, true) && !greeted {
		u.failed(err)
	}
}

// overTLS returns the credentials of encrypted connections.
func overTLS(target string, config *tls.Config, failed func(why func() error)) grpccredentials.TransportCredentials {
	var shown atomic.Pointer[tls.Certificate] // nil until the server requests one
	choose := config.GetClientCertificate
	if choose == nil {
		choose = firstOf(config.Certificates)
	}
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		certificate, err := choose(request)
		shown.Store(certificate)
		return certificate, err
	}
	why := func(_ context.Context, err error) error { return whyNotOverTLS(target, err, shown.Load()) }
	return judged{grpccredentials.NewTLS(config), why, failed}
}

func whyNotOverTLS(target string, err error, shown *tls.Certificate) error {
	var untrusted *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var unencrypted tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return badCredentials("the certificate of the board at %s is not trusted (%w); give Dial WithCA with the CA that signed it", target, unknown)
	case errors.As(err, &untrusted):
		return badCredentials("the certificate of the board at %s is not trusted: %w", target, untrusted.Err)
	case errors.As(err, &unencrypted):
		return badCredentials("the board at %s does not speak TLS; leave out WithTLS, WithCA and BOARD_TLS", target)
	case shown == nil: // the cause is not our certificate
		return nil
	case len(shown.Certificate) == 0:
		return badCredentials("the board at %s asks for a client's certificate; give Dial WithCertificate", target)
	}
	return badCredentials("the board at %s refuses the client's certificate; its operator says which CA must have signed it", target)
}

// firstOf chooses a certificate as crypto/tls does by default.
func firstOf(certificates []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		for i := range certificates {
			if request.SupportsCertificate(&certificates[i]) == nil {
				return &certificates[i], nil
			}
		}
		return &tls.Certificate{}, nil
	}
}

// inTheOpen returns the credentials of connections that are not encrypted.
func inTheOpen(target string, failed func(why func() error)) grpccredentials.TransportCredentials {
	why := func(ctx context.Context, _ error) error {
		if !speaksTLS(ctx, target) {
			return nil
		}
		return badCredentials("the board at %s speaks TLS; give Dial WithTLS, or WithCA with its CA", target)
	}
	return judged{insecure.NewCredentials(), why, failed}
}

// speaksTLS reports whether a TLS handshake with the target succeeds.
func speaksTLS(ctx context.Context, target string) bool {
	ctx, cancel := context.WithTimeout(ctx, probing)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // nothing is sent
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
