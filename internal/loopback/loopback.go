// Package loopback says which hosts are this machine: the only ones to which anything goes in plaintext without an option
// whose name says so.
package loopback

import "net/netip"

// Is reports whether host, without a port, is localhost or a loopback address. Names are not resolved: what a resolver says
// may be another's doing. Nor is localhost in other letters: HTTP clients heed a proxy of the environment for all names but
// that very one, and would take what is sent in plaintext there.
func Is(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
