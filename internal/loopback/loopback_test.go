package loopback

import (
	"net"
	"net/http"
	"testing"
)

func TestIs(t *testing.T) {
	// Only the first call in a process reads it, which this is.
	t.Setenv("HTTP_PROXY", "http://proxy.example.com:3128")
	t.Setenv("NO_PROXY", "")
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "::1%lo": true,
		"": false, "localhost.": false, "localhost.example.com": false, "127.0.0.1.example.com": false, "127.1": false, "0x7f.0.0.1": false,
		"0.0.0.0": false, "::": false, "10.0.0.1": false, "128.0.0.1": false, "::2": false, "[::1]": false, "127.0.0.1:80": false,
		"LOCALHOST": false, "LocalHost": false, "localho\u017ft": false, "localhost\x00": false, " localhost": false,
	} {
		if Is(host) != want {
			t.Errorf("Is(%q) is %v", host, !want)
		}
		if proxied(t, host) && Is(host) {
			t.Errorf("what goes to %q in plaintext goes to a proxy, and Is says that it stays here", host)
		}
	}
	if !proxied(t, "10.0.0.1") {
		t.Error("the test proves nothing: there is no proxy")
	}
}

// proxied tells whether an HTTP client that heeds the environment, as those of cloud providers do, asks a proxy for what is at host.
func proxied(t *testing.T, host string) bool {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://a/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Host = net.JoinHostPort(host, "80")
	proxy, err := http.ProxyFromEnvironment(r)
	return err != nil || proxy != nil
}
