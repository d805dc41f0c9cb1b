package localkek_test

import (
	"path/filepath"
	"testing"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/kektest"
	"github.com/strongroom-go/strongroom/keys/localkek"
)

func open(t testing.TB, path string, o *localkek.Options) *localkek.KEK {
	t.Helper()
	k, err := localkek.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestConformance(t *testing.T) {
	kektest.Run(t, func(t testing.TB) keys.KEK { return open(t, filepath.Join(t.TempDir(), "kek"), nil) })
}

func TestConformanceWithPassphrase(t *testing.T) {
	kektest.Run(t, func(t testing.TB) keys.KEK {
		return open(t, filepath.Join(t.TempDir(), "kek"), &localkek.Options{Passphrase: "correct horse", WorkFactor: 10})
	})
}
