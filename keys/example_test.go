package keys_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
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
	kek, err := localkek.Open(filepath.Join(dir, "kek"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := filestore.Open(filepath.Join(dir, "records"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	trail, err := audit.OpenLog(filepath.Join(dir, "audit"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer trail.Close()
	ctx := context.Background()
	ring, err := keys.Open(ctx, kek, store, &keys.Options{Audit: trail})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ring.Close()

	acme := tenant.MustParse("acme")
	if err := ring.Provision(ctx, acme); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ring.Status(ctx, acme))
	if err := ring.Suspend(ctx, acme, "payment overdue"); err != nil {
		fmt.Println(err)
		return
	}
	_, err = ring.Tenant(ctx, acme)
	fmt.Println(errors.Is(err, keys.ErrSuspended))
	// Output:
	// active <nil>
	// true
}
