package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strongroom-go/strongroom/keys"
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
	fmt.Println(version > 0, err)
	_, err = store.Put(ctx, id, []byte("another"), 0) // a record is there by now
	fmt.Println(errors.Is(err, keys.ErrConflict))
	_, err = store.Put(ctx, id, []byte("another"), version)
	fmt.Println(err)
	// Output:
	// true <nil>
	// true
	// <nil>
}
