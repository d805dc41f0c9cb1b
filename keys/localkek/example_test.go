package localkek_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/tenant"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "kek")

	// WorkFactor is low here to be quick; leave it out.
	kek, err := localkek.Open(path, &localkek.Options{Passphrase: "correct horse battery staple", WorkFactor: 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	id := tenant.MustParse("acme")
	fmt.Println("created:", kek.Create(context.Background(), id))

	_, err = localkek.Open(path, &localkek.Options{Passphrase: "a guess"})
	fmt.Println("the wrong passphrase is told:", errors.Is(err, localkek.ErrPassphrase))
	// Output:
	// created: <nil>
	// the wrong passphrase is told: true
}
