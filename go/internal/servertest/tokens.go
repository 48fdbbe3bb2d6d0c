package servertest

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// Token makes a token in a file of the server's, with arguments of `board token
// create` such as its role; it returns the secret, "" for a certificate's.
func Token(t testing.TB, file, name string, arguments ...string) string {
	t.Helper()
	command := append([]string{"-m", "board_server.tokens", "create", "--file", file, "--name", name}, arguments...)
	creation := exec.Command(Python(t), command...)
	var stderr bytes.Buffer
	creation.Stderr = &stderr
	secret, err := creation.Output()
	if err != nil {
		t.Fatalf("cannot make the token %s: %v\n%s", name, err, stderr.String())
	}
	return strings.TrimSpace(string(secret))
}
