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

// probeTimeout bounds the probe that finds out why a connection failed.
const probeTimeout = 2 * time.Second

// reporting wraps transport credentials to report each connection that fails before
// the server's first frame. gRPC reconnects whatever the cause is; why returns those
// causes that reconnecting does not remove.
type reporting struct {
	grpccredentials.TransportCredentials
	why    func(ctx context.Context, err error) error // returns nil if another attempt may succeed
	failed func(why func() error)                     // called for each failed connection
}

// ClientHandshake does the handshake of a connection, and reports its failure.
func (j reporting) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, grpccredentials.AuthInfo, error) {
	failed := func(err error) {
		if !errors.Is(err, net.ErrClosed) { // closed by this client
			j.failed(func() error { return j.why(ctx, err) })
		}
	}
	conn, info, err := j.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		failed(err)
		return nil, nil, err
	}
	return &unanswered{Conn: conn, failed: failed}, info, nil
}

// Clone returns a copy.
func (j reporting) Clone() grpccredentials.TransportCredentials {
	j.TransportCredentials = j.TransportCredentials.Clone()
	return j
}

// unanswered reports a connection that fails before the server has sent anything. In
// HTTP/2 the server sends first; one that refuses the client's certificate, or
// expects TLS, closes the connection instead.
type unanswered struct {
	net.Conn
	reported atomic.Bool
	failed   func(error)
}

// Read reads what the server sends.
func (u *unanswered) Read(b []byte) (int, error) {
	n, err := u.Conn.Read(b)
	u.settle(n > 0, err)
	return n, err
}

// Write sends to the server. It may fail before Read does.
func (u *unanswered) Write(b []byte) (int, error) {
	n, err := u.Conn.Write(b)
	u.settle(false, err)
	return n, err
}

// settle reports err once, unless the server has answered before.
func (u *unanswered) settle(answered bool, err error) {
	if u.reported.Load() || !answered && err == nil {
		return
	}
	if u.reported.CompareAndSwap(false, true) && !answered {
		u.failed(err)
	}
}

// overTLS returns the credentials of encrypted connections.
func overTLS(target string, config *tls.Config, failed func(why func() error)) grpccredentials.TransportCredentials {
	var presented atomic.Pointer[tls.Certificate] // nil until the server requests one
	choose := config.GetClientCertificate
	if choose == nil {
		choose = firstOf(config.Certificates)
	}
	config.GetClientCertificate = func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		certificate, err := choose(request)
		presented.Store(certificate)
		return certificate, err
	}
	why := func(_ context.Context, err error) error { return whyNotOverTLS(target, err, presented.Load()) }
	return reporting{grpccredentials.NewTLS(config), why, failed}
}

func whyNotOverTLS(target string, err error, presented *tls.Certificate) error {
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
	case presented == nil: // the server did not request a certificate
		return nil
	case len(presented.Certificate) == 0:
		return badCredentials("the board at %s requires a client certificate; give Dial WithCertificate", target)
	}
	return badCredentials("the board at %s refuses the client's certificate; ask its operator which CA must have signed it", target)
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

// withoutTLS returns the credentials of connections that are not encrypted.
func withoutTLS(target string, failed func(why func() error)) grpccredentials.TransportCredentials {
	why := func(ctx context.Context, _ error) error {
		if !speaksTLS(ctx, target) {
			return nil
		}
		return badCredentials("the board at %s speaks TLS; give Dial WithTLS, or WithCA with its CA", target)
	}
	return reporting{insecure.NewCredentials(), why, failed}
}

// speaksTLS reports whether a TLS handshake with the target succeeds.
func speaksTLS(ctx context.Context, target string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // nothing is sent
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
