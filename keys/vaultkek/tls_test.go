package vaultkek_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/vaultkek"
)

// authority signs the certificates of a test.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &authority{key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns a certificate for the names, and its key, in PEM.
func (a *authority) issue(t testing.TB, names ...string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "leaf"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) server(t testing.TB, names ...string) *tls.Config {
	t.Helper()
	cert, key := a.issue(t, names...)
	pair, err := tls.X509KeyPair(cert, key)
	must(t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// file writes a file of this test alone.
func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, content, 0o600))
	return path
}

// TestMutualTLS: a Vault that asks for a client certificate is spoken to with one, and the errors of those that have none,
// or another authority's, say what is missing. Certificates are replaced without a restart.
func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ours.issue(t, "127.0.0.1", "localhost")
	cert, key := ours.issue(t)
	trusted := x509.NewCertPool()
	trusted.AddCert(ours.cert)
	pair, err := tls.X509KeyPair(cert, key)
	must(t, err)
	node := testenv.OwnVault(t, &testenv.VaultTLS{Cert: serverCert, Key: serverKey, ClientCA: ours.pem, Client: &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}}})
	mount := node.EnableTransit(t)
	ca, certFile, keyFile := file(t, "ca.pem", ours.pem), file(t, "cert.pem", cert), file(t, "key.pem", key)
	auth := func() api.AuthMethod {
		return vaultkek.Token(token(t, node.Client(t), mount, vaultkek.Policy(mount, ""), "1h"))
	}
	k := open(t, node.Addr, auth(), &vaultkek.Options{Mount: mount, CAFile: ca, CertFile: certFile, KeyFile: keyFile})
	works(t, k)

	otherCert, otherKey := theirs.issue(t)
	for name, o := range map[string]vaultkek.Options{
		"no certificate":        {CAFile: ca},
		"another's certificate": {CAFile: ca, CertFile: file(t, "cert.pem", otherCert), KeyFile: file(t, "key.pem", otherKey)},
	} {
		_, err := vaultkek.Open(t.Context(), node.Addr, auth(), &o)
		if err == nil {
			t.Errorf("with %s it works", name)
			continue
		}
		wantText(t, err, nil, "Options.CertFile")
		if errors.Is(err, keys.ErrUnavailable) {
			t.Errorf("with %s it looks as if trying again would help: %v", name, err)
		}
	}
	_, err = vaultkek.Open(t.Context(), node.Addr, auth(), &vaultkek.Options{CertFile: certFile, KeyFile: keyFile})
	wantText(t, err, nil, "Options.CAFile")
	_, err = vaultkek.Open(t.Context(), node.Addr, auth(), &vaultkek.Options{CAFile: file(t, "ca.pem", theirs.pem), CertFile: certFile, KeyFile: keyFile})
	wantText(t, err, nil, "Options.CAFile")
}

// TestACertificateIsReadAnew: for each connection, and one that cannot be read is said to be so.
func TestACertificateIsReadAnew(t *testing.T) {
	ours := newAuthority(t)
	seen := make(chan string, 16)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.TLS.PeerCertificates[0].SerialNumber.String()
		w.Header().Set("Connection", "close")
		w.Write([]byte(`{"data":{"ttl":0,"renewable":false,"type":"aes256-gcm96"}}`))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = ours.server(t, "127.0.0.1")
	server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	server.TLS.ClientCAs.AddCert(ours.cert)
	server.StartTLS()
	t.Cleanup(server.Close)
	cert, key := ours.issue(t)
	certFile, keyFile := file(t, "cert.pem", cert), file(t, "key.pem", key)
	o := vaultkek.Options{CAFile: file(t, "ca.pem", ours.pem), CertFile: certFile, KeyFile: keyFile, MaxRetries: -1}
	k := open(t, server.URL, vaultkek.Token("x"), &o)
	first := <-seen
	cert, key = ours.issue(t)
	must(t, os.WriteFile(certFile, cert, 0o600))
	must(t, os.WriteFile(keyFile, key, 0o600))
	must(t, k.Check(t.Context(), idA))
	if second := <-seen; second == first {
		t.Error("the certificate that was replaced is still shown")
	}
	for _, c := range []struct {
		text  string
		spoil func() error
	}{
		{"hold no PEM certificate", func() error { return os.WriteFile(keyFile, cert, 0o600) }},
		{"no such file", func() error { return os.Remove(certFile) }},
	} {
		must(t, c.spoil())
		for what, err := range map[string]error{
			"New":   second(vaultkek.Open(t.Context(), server.URL, vaultkek.Token("x"), &o)),
			"Check": k.Check(t.Context(), idA),
		} {
			if err == nil || !strings.Contains(err.Error(), "Options.CertFile") || errors.Is(err, keys.ErrUnavailable) {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := vaultkek.Open(t.Context(), server.URL, vaultkek.Token("x"), &o)
		wantText(t, err, []string{"PRIVATE"}, c.text)
	}
	_, err := vaultkek.Open(t.Context(), server.URL, vaultkek.Token("x"), &vaultkek.Options{CertFile: certFile})
	wantText(t, err, nil, "belong together")
}

// TestRefusedCertificate: whoever is first of the server's alert and the client's request, the error says what is missing.
// With TLS 1.3 one login in six met a broken pipe before the alert in a tight loop, which looked like an outage.
func TestRefusedCertificate(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = ours.server(t, "127.0.0.1")
	server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, pool
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := file(t, "ca.pem", ours.pem)
	otherCert, otherKey := theirs.issue(t)
	certFile, keyFile := file(t, "cert.pem", otherCert), file(t, "key.pem", otherKey)
	var group sync.WaitGroup
	for worker := range 4 { // more than there are processors, so that the order varies
		group.Go(func() {
			o := vaultkek.Options{CAFile: ca, MaxRetries: -1}
			if worker%2 == 1 {
				o.CertFile, o.KeyFile = certFile, keyFile
			}
			for range 200 {
				_, err := vaultkek.Open(t.Context(), server.URL, vaultkek.Token("s.x"), &o)
				if err == nil || !strings.Contains(err.Error(), "Options.CertFile") || errors.Is(err, keys.ErrUnavailable) {
					t.Errorf("a refused certificate: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
}
