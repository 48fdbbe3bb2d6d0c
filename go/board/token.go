package board

import (
	"context"
	"strings"
	"sync"
)

// bearer sends a token with each call: a fixed one, or the one in a file.
type bearer struct {
	secure bool   // gRPC must refuse to send it unencrypted
	path   string // of the file; "" for a fixed token

	mu    sync.Mutex
	token string
}

// GetRequestMetadata returns the header that carries the token.
func (b *bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b.path != "" {
		_ = b.read() // while the file holds no token, the last one remains in use
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity reports whether the connection must be encrypted.
func (b *bearer) RequireTransportSecurity() bool { return b.secure }

// read reads the token from the file. It does not rely on the file's time and
// size, which two changes within one tick of the clock may leave equal.
func (b *bearer) read() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	text, err := readFile(b.path)
	if err != nil {
		return badCredentials("the token cannot be read: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if !isToken(token) {
		return badCredentials("%s holds no token", b.path)
	}
	b.token = token
	return nil
}

// isToken reports whether the text is one word of printable ASCII.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
