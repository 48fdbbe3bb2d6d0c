package board

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"

	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// credentials authenticate the client, and say how it verifies the server.
type credentials struct {
	tls       *tls.Config
	ca        string
	cert, key string
	token     string
	tokenFile string
	tlsWord   string // the value of BOARD_TLS, if it is neither yes nor no
}

// WithTLS encrypts the connection with this configuration; nil trusts the system's
// CAs. A connection to a Unix socket is never encrypted: the mode of the socket
// protects it.
func WithTLS(config *tls.Config) Option {
	if config == nil {
		config = &tls.Config{}
	}
	return Option{func(o *options) { o.credentials.tls = config }}
}

// WithCA encrypts the connection, and trusts the CAs in this PEM file instead of
// the system's.
func WithCA(file string) Option {
	return Option{func(o *options) { o.credentials.ca = file }}
}

// WithCertificate encrypts the connection, and presents the client certificate in
// these PEM files if the server requests one (mutual TLS). The files are read
// again for each connection.
func WithCertificate(certFile, keyFile string) Option {
	return Option{func(o *options) { o.credentials.cert, o.credentials.key = certFile, keyFile }}
}

// WithToken sends a bearer token with each call. Dial refuses to send it
// without TLS to anything but a loopback address or a Unix socket.
func WithToken(token string) Option {
	return Option{func(o *options) { o.credentials.token, o.credentials.tokenFile = token, "" }}
}

// WithTokenFile is [WithToken] for the token in a file. The file is read
// for each call; while it holds no token, the last one remains in use.
func WithTokenFile(file string) Option {
	return Option{func(o *options) { o.credentials.token, o.credentials.tokenFile = "", file }}
}

// encrypted reports whether connections over TCP use TLS.
func (c credentials) encrypted() bool {
	return c.tls != nil || c.ca != "" || c.cert != "" || c.key != ""
}

// bearer returns the credentials that send the token to the target; nil if there is
// no token.
func (c credentials) bearer(target string, local bool) (*bearer, error) {
	if c.token == "" && c.tokenFile == "" {
		return nil, nil
	}
	if c.token != "" && c.tokenFile != "" {
		return nil, badCredentials("BOARD_TOKEN and BOARD_TOKEN_FILE are both set; unset one of them")
	}
	if !c.encrypted() && !local {
		return nil, badCredentials("a token is not sent unencrypted to %s; give Dial WithTLS or WithCA too", target)
	}
	b := &bearer{path: c.tokenFile, token: c.token, secure: !local}
	switch {
	case b.path != "":
		return b, b.read()
	case !isToken(b.token):
		return nil, badCredentials("the token is not one word of printable ASCII")
	}
	return b, nil
}

// transport returns the transport credentials of connections to the target.
func (c credentials) transport(target string, failed func(why func() error)) (grpccredentials.TransportCredentials, error) {
	if c.tlsWord != "" {
		return nil, badCredentials("BOARD_TLS must be 1 or 0 and not %q", c.tlsWord)
	}
	config, err := c.config()
	switch {
	case err != nil:
		return nil, err
	case isUnix(target):
		return insecure.NewCredentials(), nil
	case c.encrypted():
		return overTLS(target, config, failed), nil
	}
	return withoutTLS(target, failed), nil
}

// config reads the files, and returns the TLS configuration.
func (c credentials) config() (*tls.Config, error) {
	config := c.tls.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	if c.ca != "" {
		pem, err := readFile(c.ca)
		if err != nil {
			return nil, badCredentials("the CAs cannot be read: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, badCredentials("%s holds no certificate in PEM", c.ca)
		}
	}
	if c.cert != "" || c.key != "" {
		pair := &keyPair{certFile: c.cert, keyFile: c.key}
		if err := pair.read(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = pair.current
	}
	return config, nil
}

// keyPair is a client certificate and its key, in files, which may be replaced
// while the client runs. While they do not match, the last pair remains in use.
type keyPair struct {
	certFile, keyFile string
	last              atomic.Pointer[tls.Certificate]
}

func (p *keyPair) read() error {
	if p.certFile == "" || p.keyFile == "" {
		return badCredentials("a client certificate needs its key, and a key its certificate; give both files")
	}
	pair, err := loadPair(p.certFile, p.keyFile)
	if err != nil {
		return badCredentials("the certificate %s with the key %s cannot be used: %w", p.certFile, p.keyFile, err)
	}
	p.last.Store(&pair)
	return nil
}

func loadPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := readFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

func (p *keyPair) current(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	_ = p.read()
	return p.last.Load(), nil
}
