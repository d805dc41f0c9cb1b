package blobs_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"gocloud.dev/blob/memblob"

	"github.com/strongroom-go/strongroom/storage/blobs"
)

func ExampleHandler() {
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

	// A service keeps this keyset with its other secrets; all its processes have the same.
	secret, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		log.Fatal(err)
	}
	signer, err := blobs.NewSigner(secret, nil)
	if err != nil {
		log.Fatal(err)
	}
	handler, err := blobs.NewHandler(scans, signer, nil)
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()

	// Behind the session of somebody of the clinic "north":
	north := as(ctx, "north")
	upload, err := signer.Sign(north, scans, blobs.Grant{Method: http.MethodPut, Key: "knee.txt", MaxBytes: 1 << 20, CreateOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	download, err := signer.Sign(north, scans, blobs.Grant{Method: http.MethodGet, Key: "knee.txt", Lifetime: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	// In the browser:
	send := func(method, token, body string) {
		r, err := http.NewRequest(method, server.URL+"/knee.txt?token="+token, strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			log.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(strings.TrimSpace(fmt.Sprint(method, " ", answer.StatusCode, " ", string(text))))
	}
	send("PUT", upload, "a torn ligament")
	send("PUT", upload, "nothing, really")
	send("GET", download, "")
	send("GET", upload, "")
	send("DELETE", download, "")
	// Output:
	// PUT 201
	// PUT 412 Precondition Failed
	// GET 200 a torn ligament
	// GET 403 Forbidden
	// DELETE 403 Forbidden
}

func ExampleImport() {
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

	old := memblob.OpenBucket(nil)
	defer old.Close()
	for _, key := range []string{"north/knee", "north/hip", "south/knee"} {
		if err := old.WriteAll(ctx, key, []byte("pixels of "+key), nil); err != nil {
			log.Fatal(err)
		}
	}
	for range 2 {
		report, err := blobs.Import(as(ctx, "north"), scans, old, &blobs.ImportOptions{
			Prefix: "north/",
			Key:    func(source string) (string, bool) { return strings.CutPrefix(source, "north/") },
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(report.Actions, report.Bytes)
	}
	text, err := scans.ReadAll(as(ctx, "north"), "hip")
	fmt.Printf("%s, %v\n", text, err)
	// Output:
	// map[imported:2] 39
	// map[verified:2] 0
	// pixels of north/hip, <nil>
}
