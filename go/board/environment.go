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
		if c.tls == nil && isTrue(os.Getenv("BOARD_TLS")) {
			c.tls = &tls.Config{}
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

func isTrue(value string) bool {
	return slices.Contains([]string{"1", "true", "yes", "on"}, strings.ToLower(value))
}
