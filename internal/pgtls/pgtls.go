// Package pgtls tells which connections to PostgreSQL could be in the clear.
package pgtls

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom-go/strongroom/internal/loopback"
)

// Plain returns the host of another machine that a configuration would, even as a fallback, speak to without TLS, or "" where there
// is none.
func Plain(config *pgx.ConnConfig) (host string) {
	if config.TLSConfig == nil && !local(config.Host) {
		return config.Host
	}
	for _, f := range config.Fallbacks {
		if f.TLSConfig == nil && !local(f.Host) {
			return f.Host
		}
	}
	return ""
}

// local tells whether host is this machine: the directory of what pgx takes for a unix socket, localhost, or a loopback address.
func local(host string) bool {
	network, _ := pgconn.NetworkAddress(host, 0)
	return network == "unix" || loopback.Is(host)
}
