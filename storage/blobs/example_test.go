package blobs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/fileblob" // the opener of file:// URLs
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/tenant"
)

// openGuard opens the keys and the log of a service in dir, and gives two clinics keys.
func openGuard(ctx context.Context, dir string) (guard storage.Guard, closeAll func(), err error) {
	kek, err := localkek.Open(filepath.Join(dir, "kek.json"), nil)
	if err != nil {
		return storage.Guard{}, nil, err
	}
	store, err := filestore.Open(filepath.Join(dir, "keys"), nil)
	if err != nil {
		return storage.Guard{}, nil, err
	}
	trail, err := audit.OpenLog(filepath.Join(dir, "audit"), nil)
	if err != nil {
		return storage.Guard{}, nil, err
	}
	ring, err := keys.Open(ctx, kek, store, &keys.Options{Audit: trail})
	if err != nil {
		return storage.Guard{}, nil, errors.Join(err, trail.Close())
	}
	closeAll = func() { _ = errors.Join(trail.Close(), ring.Close()) }
	for _, clinic := range []string{"north", "south"} {
		if err := ring.Provision(ctx, tenant.MustParse(clinic)); err != nil {
			closeAll()
			return storage.Guard{}, nil, err
		}
	}
	return storage.Guard{Keys: ring, Audit: trail}, closeAll, nil
}

// as is what tenant.Middleware does for a request.
func as(ctx context.Context, clinic string) context.Context {
	return tenant.NewContext(ctx, tenant.Access{
		Tenant: tenant.MustParse(clinic), Actor: "dr.lee@" + clinic, Purpose: "treatment"})
}

func ExampleWrap() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "strongroom")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	guard, closeAll, err := openGuard(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeAll()

	scans, err := blobs.Wrap(memblob.OpenBucket(nil), guard, &blobs.Options{Label: "scans"})
	if err != nil {
		log.Fatal(err)
	}
	defer scans.Close()

	north, south := as(ctx, "north"), as(ctx, "south")
	if err := scans.WriteAll(north, "knee.txt", []byte("a torn ligament"), nil); err != nil {
		log.Fatal(err)
	}
	text, err := scans.ReadAll(north, "knee.txt")
	fmt.Printf("%s, %v\n", text, err)
	_, err = scans.ReadAll(south, "knee.txt")
	fmt.Println("the other clinic:", gcerrors.Code(err))
	_, err = scans.ReadAll(ctx, "knee.txt")
	fmt.Println("nobody in particular:", gcerrors.Code(err))
	// Output:
	// a torn ligament, <nil>
	// the other clinic: NotFound
	// nobody in particular: PermissionDenied
}

// With sealed names the store sees directories, and not what anything is called.
func ExampleOptions_sealNames() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "strongroom")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	guard, closeAll, err := openGuard(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeAll()

	store := memblob.OpenBucket(nil)
	scans, err := blobs.Wrap(store, guard, &blobs.Options{Label: "scans", SealNames: true})
	if err != nil {
		log.Fatal(err)
	}
	defer scans.Close()

	north := as(ctx, "north")
	for _, name := range []string{"jane doe/knee", "jane doe/hip", "john roe/hip", "readme"} {
		if err := scans.WriteAll(north, name, []byte("pixels"), nil); err != nil {
			log.Fatal(err)
		}
	}
	show := func(b *blob.Bucket, opts *blob.ListOptions, print func(*blob.ListObject)) {
		for list := b.List(opts); ; {
			object, err := list.Next(north)
			if err == io.EOF {
				return
			}
			if err != nil {
				log.Fatal(err)
			}
			print(object)
		}
	}
	show(scans, &blob.ListOptions{Delimiter: "/"}, func(o *blob.ListObject) { fmt.Println(o.Key) })
	show(scans, &blob.ListOptions{Prefix: "jane doe/", Delimiter: "/"}, func(o *blob.ListObject) { fmt.Println(o.Key) })
	leaks := 0
	show(store, nil, func(o *blob.ListObject) {
		if strings.Contains(o.Key, "jane") || strings.Contains(o.Key, "hip") {
			leaks++
		}
	})
	fmt.Println("names that the store shows:", leaks)
	// Output:
	// jane doe/
	// john roe/
	// readme
	// jane doe/hip
	// jane doe/knee
	// names that the store shows: 0
}

func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "strongroom")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	guard, closeAll, err := openGuard(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeAll()

	// no_tmp_dir: fileblob renames files into place, which works within one file system only.
	url := "file://" + filepath.ToSlash(dir) + "/objects?create_dir=true&no_tmp_dir=true"
	scans, err := blobs.Open(ctx, url, guard, &blobs.Options{Label: "scans"})
	if err != nil {
		log.Fatal(err)
	}
	defer scans.Close()

	north := as(ctx, "north")
	for _, name := range []string{"2026/knee", "2026/hip"} {
		if err := scans.WriteAll(north, name, []byte("pixels of a "+name[5:]), nil); err != nil {
			log.Fatal(err)
		}
	}
	for list := scans.List(&blob.ListOptions{Prefix: "2026/"}); ; {
		object, err := list.Next(north)
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(object.Key, object.Size)
	}
	// Somebody with access to the disk gives one object the name of another.
	objects := filepath.Join(dir, "objects", tenant.MustParse("north").Segment(), "2026")
	for _, ext := range []string{"", ".attrs"} {
		if err := os.Rename(filepath.Join(objects, "hip"+ext), filepath.Join(objects, "knee"+ext)); err != nil {
			log.Fatal(err)
		}
	}
	_, err = scans.ReadAll(north, "2026/knee")
	fmt.Println(errors.Is(err, storage.ErrIsolation))
	// Output:
	// 2026/hip 15
	// 2026/knee 16
	// true
}
