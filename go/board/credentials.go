package board

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"

	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// credentials are what a client shows a server, and by what it knows the server.
type credentials struct {
	tls       *tls.Config
	ca        string
	cert, key string
	token     string
	tokenFile string
}

// WithTLS encrypts the connection as config says; nil means, with the CAs that
// the system trusts. A Unix socket is never encrypted: its mode guards it.
func WithTLS(config *tls.Config) Option {
	if config == nil {
		config = &tls.Config{}
	}
	return Option{func(o *options) { o.credentials.tls = config }}
}

// WithCA encrypts the connection, and trusts the CAs of this PEM file instead of
// those that the system trusts.
func WithCA(file string) Option {
	return Option{func(o *options) { o.credentials.ca = file }}
}

// WithCertificate encrypts the connection, and shows the client's certificate of
// these PEM files to a server that asks for one: mutual TLS. They are read again
// for each connection.
func WithCertificate(certFile, keyFile string) Option {
	return Option{func(o *options) { o.credentials.cert, o.credentials.key = certFile, keyFile }}
}

// WithToken sends a bearer token with each call. Dial refuses to send it
// without TLS to anything but a loopback address or a Unix socket.
func WithToken(token string) Option {
	return Option{func(o *options) { o.credentials.token, o.credentials.tokenFile = token, "" }}
}

// WithTokenFile is [WithToken] for the token that a file holds. The file is read
// again when it changes; what it said last stands while it holds none.
func WithTokenFile(file string) Option {
	return Option{func(o *options) { o.credentials.token, o.credentials.tokenFile = "", file }}
}

// encrypted tells whether connections over TCP use TLS.
func (c credentials) encrypted() bool {
	return c.tls != nil || c.ca != "" || c.cert != "" || c.key != ""
}

// bearer returns what shows the token at the target, nil if there is none.
func (c credentials) bearer(target string, local bool) (*bearer, error) {
	if c.token == "" && c.tokenFile == "" {
		return nil, nil
	}
	if c.token != "" && c.tokenFile != "" {
		return nil, badCredentials("BOARD_TOKEN and BOARD_TOKEN_FILE are both set: leave one of them out")
	}
	if !c.encrypted() && !local {
		return nil, badCredentials("a token must not travel to %s in the open; give Dial WithTLS or WithCA too", target)
	}
	b := &bearer{path: c.tokenFile, token: c.token, secure: !local}
	switch {
	case b.path != "":
		return b, b.read()
	case !isToken(b.token):
		return nil, badCredentials("the token is not one word of ASCII")
	}
	return b, nil
}

// transport returns what makes a connection to the target ready for use.
func (c credentials) transport(target string, failed func(why func() error)) (grpccredentials.TransportCredentials, error) {
	config, err := c.config()
	switch {
	case err != nil:
		return nil, err
	case isUnix(target):
		return insecure.NewCredentials(), nil
	case c.encrypted():
		return overTLS(target, config, failed), nil
	}
	return inTheOpen(target, failed), nil
}

// config reads the files, and returns what TLS needs.
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

// keyPair is a client's certificate and its key, in files. A new pair needs no
// restart; while the files do not fit each other, what they said last stands.
type keyPair struct {
	certFile, keyFile string
	last              atomic.Pointer[tls.Certificate]
}

func (p *keyPair) read() error {
	if p.certFile == "" || p.keyFile == "" {
		return badCredentials("a client's certificate and its key go together")
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
