package s3lock_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/strongroom-go/strongroom/audit/sink/s3lock"
)

// TestNoRedirectIntoPlaintext: a server that says that the bucket is elsewhere gets nobody to ask there in plaintext, whatever client it is.
func TestNoRedirectIntoPlaintext(t *testing.T) {
	for name, status := range map[string]int{"307": http.StatusTemporaryRedirect, "308": http.StatusPermanentRedirect, "302": http.StatusFound} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1:9000"+r.URL.RequestURI(), status)
		}))
		defer server.Close()
		var away atomic.Int64
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "192.0.2.1:") {
				away.Add(1)
				return nil, io.ErrUnexpectedEOF
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		trust := &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com", MinVersion: tls.VersionTLS12}
		for kind, client := range map[string]s3.HTTPClient{
			"net/http": &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DialContext: dial}},
			"the SDK's": awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
				tr.TLSClientConfig, tr.DialContext = trust, dial
			}),
		} {
			client := s3.New(s3.Options{Region: "eu-central-1", Credentials: aws.AnonymousCredentials{}, BaseEndpoint: &server.URL, UsePathStyle: true,
				RetryMaxAttempts: 1, HTTPClient: client})
			if _, err := s3lock.Open(t.Context(), client, "locked", s3lock.Options{Retain: time.Hour}); err == nil {
				t.Errorf("%s, %s: it was opened", name, kind)
			}
			if n := away.Swap(0); n > 0 {
				t.Errorf("%s, %s: %d connections in plaintext to another machine", name, kind, n)
			}
		}
	}
}
