package board

import (
	"cmp"
	"crypto/tls"
	"os"
	"slices"
	"strings"
)

// FromEnvironment reads the variables of the `board` command: BOARD_TARGET, which
// is used if Dial's target is "" ([DefaultTarget] if it is not set); BOARD_NAME, as
// [WithBoard]; BOARD_TLS=1, BOARD_TLS_CA, BOARD_TLS_CERT and BOARD_TLS_KEY, as
// [WithTLS], [WithCA] and [WithCertificate]; BOARD_TOKEN or BOARD_TOKEN_FILE, as
// [WithToken] and [WithTokenFile]. A variable that is not set has no effect.
func FromEnvironment() Option {
	return Option{func(o *options) {
		o.target = cmp.Or(os.Getenv("BOARD_TARGET"), DefaultTarget)
		o.board = cmp.Or(os.Getenv("BOARD_NAME"), o.board)
		c := &o.credentials
		if word := strings.ToLower(strings.TrimSpace(os.Getenv("BOARD_TLS"))); !slices.Contains(no, word) {
			if !slices.Contains(yes, word) {
				c.tlsWord = word
			}
			c.tls = cmp.Or(c.tls, &tls.Config{})
		}
		c.ca = cmp.Or(os.Getenv("BOARD_TLS_CA"), c.ca)
		if cert, key := os.Getenv("BOARD_TLS_CERT"), os.Getenv("BOARD_TLS_KEY"); cert != "" || key != "" {
			c.cert, c.key = cert, key
		}
		if token, file := os.Getenv("BOARD_TOKEN"), os.Getenv("BOARD_TOKEN_FILE"); token != "" || file != "" {
			c.token, c.tokenFile = token, file
		}
	}}
}

// The words of BOARD_TLS, as the `board` command takes them.
var (
	yes = []string{"1", "true", "t", "yes", "y", "on"}
	no  = []string{"", "0", "false", "f", "no", "n", "off"}
)
