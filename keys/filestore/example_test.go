package filestore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/tenant"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	store, err := filestore.Open(filepath.Join(dir, "records"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// A keyring does this; records are opaque to the store.
	ctx, id := context.Background(), tenant.MustParse("acme")
	version, err := store.Put(ctx, id, []byte("record"), 0)
	fmt.Println(version, err)
	_, err = store.Put(ctx, id, []byte("another"), 0)
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// filestore: tenant acme: keys: the stored record was changed by somebody else: version 1 is stored, not 0
}
