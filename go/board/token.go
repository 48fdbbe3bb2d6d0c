package board

import (
	"context"
	"strings"
	"sync"
)

// bearer sends a token with each call: a fixed one, or that of a file.
type bearer struct {
	secure bool   // whether gRPC must refuse to send it in the open
	path   string // of the file; "" without one

	mu    sync.Mutex
	token string
}

// GetRequestMetadata returns the header that carries the token.
func (b *bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b.path != "" {
		_ = b.read() // what the file said last stands while it says nothing
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity tells whether the connection must be encrypted.
func (b *bearer) RequireTransportSecurity() bool { return b.secure }

// read takes the token from the file. It reads it each time: two changes within
// one tick of the clock leave a file whose time and size are those that were seen.
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

// isToken tells whether the text can be one: a word of ASCII.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
