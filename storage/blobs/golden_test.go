package blobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"

	"github.com/strongroom-go/strongroom/internal/envelope"
	"github.com/strongroom-go/strongroom/internal/envelope/golden"
	"github.com/strongroom-go/strongroom/internal/tenantkeys"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/tenant"
)

const moduleRoot = "../.."

var updateGolden = flag.Bool("update", false, "make the golden vectors anew: only when a format changes")

// goldenWorld has the tenant of the golden vectors, with its keys.
func goldenWorld(t *testing.T) (*world, *golden.Vectors) {
	t.Helper()
	return goldenWorldOf(t, nil)
}

// goldenWorldOf is goldenWorld with another record of the tenant, if not nil.
func goldenWorldOf(t *testing.T, record []byte) (*world, *golden.Vectors) {
	t.Helper()
	v, err := golden.Load(moduleRoot)
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "kek"), v.LocalKEK, 0o600))
	kek, err := localkek.Open(filepath.Join(dir, "kek"), &localkek.Options{MustExist: true})
	must(t, err)
	store, err := filestore.Open(filepath.Join(dir, "records"), nil)
	must(t, err)
	id := tenant.MustParse(v.Tenant)
	if record == nil {
		record = v.Record
	}
	_, err = store.Put(t.Context(), id, record, 0)
	must(t, err)
	ring, err := keys.Open(t.Context(), kek, store, &keys.Options{Label: v.Keyring, InsecureWithoutAudit: true})
	must(t, err)
	t.Cleanup(func() { _ = ring.Close() })
	w := &world{ring: ring, log: new(recorder), a: accessOf(t.Context(), id)}
	w.guard = storage.Guard{Keys: ring, Audit: w.log}
	return w, v
}

func goldenObject(t *testing.T, v *golden.Vectors, file string) (*golden.Object, []byte) {
	t.Helper()
	for i := range v.Objects {
		if v.Objects[i].File == file {
			stored, err := os.ReadFile(filepath.Join(moduleRoot, filepath.Dir(golden.File), file))
			must(t, err)
			return &v.Objects[i], stored
		}
	}
	t.Fatalf("no object %s", file)
	return nil, nil
}

// What was stored by an earlier version is read by this one, by every way that leads to it.
func TestGolden(t *testing.T) {
	if *updateGolden {
		makeGolden(t)
	}
	w, v := goldenWorld(t)
	g, err := golden.LoadBlobs(moduleRoot)
	must(t, err)
	for _, x := range g.Attributes {
		o, stored := goldenObject(t, v, x.File)
		inner := memory()
		b := w.wrap(t, inner, x.Label)
		putRaw(t, inner, tenant.MustParse(v.Tenant).Segment()+"/"+x.Key, raw{stored, map[string]string{attributesName: x.Sealed}})
		checkGoldenObject(t, w.a, b, &x, o.Content())
		w.log.take()
	}
	for _, x := range g.Names {
		s := scopeOf(tenant.MustParse(x.Tenant))
		if name, err := s.name(x.Key); err != nil || name != x.Name {
			t.Errorf("%q is %q, %v; want %q", x.Key, name, err, x.Name)
		}
		if key, ok := s.key(x.Name); !ok || key != x.Key {
			t.Errorf("%q is of %q, %v; want %q", x.Name, key, ok, x.Key)
		}
	}
	k, err := tenantkeys.Open(w.a, w.ring, tenant.MustParse(v.Tenant))
	must(t, err)
	for _, x := range g.Pages {
		token, err := openPageToken(k, pageAD(k, x.Label, false), &driver.ListOptions{Prefix: x.Prefix, Delimiter: x.Delimiter, PageToken: x.Sealed})
		if err != nil || !bytes.Equal(token, x.Token) {
			t.Errorf("page token: %x, %v; want %x", token, err, x.Token)
		}
	}
	checkGoldenGrants(t, w, g)
}

func checkGoldenObject(t *testing.T, ctx context.Context, b *blob.Bucket, x *golden.BlobAttributes, content []byte) {
	t.Helper()
	var want attributes
	must(t, json.Unmarshal([]byte(x.JSON), &want))
	got, err := b.ReadAll(ctx, x.Key)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s: %d bytes, %v", x.File, len(got), err)
	}
	for _, at := range rangesToTry() {
		if got, err := readRange(b, ctx, x.Key, at[0], at[1]); err != nil || !bytes.Equal(got, clip(content, min(at[0], int64(len(content))), at[1])) {
			t.Errorf("%s, range %v: %d bytes, %v", x.File, at, len(got), err)
		}
	}
	a, err := b.Attributes(ctx, x.Key)
	must(t, err)
	if a.ContentType != want.ContentType || a.CacheControl != want.CacheControl || a.Metadata["patient"] != want.Metadata["patient"] || !bytes.Equal(a.MD5, want.MD5) {
		t.Errorf("%s: attributes %+v", x.File, a)
	}
	must(t, b.Copy(ctx, "copy", x.Key, nil))
	if got, err := b.ReadAll(ctx, "copy"); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s, copied: %d bytes, %v", x.File, len(got), err)
	}
	list := b.List(&blob.ListOptions{Prefix: x.Key})
	if o, err := list.Next(ctx); err != nil || o.Key != x.Key || o.Size != int64(len(content)) {
		t.Errorf("%s, listed: %+v, %v", x.File, o, err)
	}
}

// TestGoldenNames finds objects under the golden names, by key and by listing.
func TestGoldenNames(t *testing.T) {
	n, err := golden.LoadNames(moduleRoot)
	must(t, err)
	w, v := goldenWorldOf(t, n.Record)
	w.sealNames = true
	id := tenant.MustParse(v.Tenant)
	k, err := tenantkeys.Open(t.Context(), w.ring, id)
	must(t, err)
	var want []string
	b, inner := w.mem(t, "scans")
	for _, x := range n.Names {
		if got := w.nameIn(t, x.Label, id, x.Key); got != x.Name {
			t.Errorf("%q in %q is %q, want %q", x.Key, x.Label, got, x.Name)
		}
		if x.Label != "scans" {
			continue
		}
		must(t, b.WriteAll(w.a, x.Key, []byte("content"), nil))
		if !slices.Contains(rawNames(t, inner), x.Name) {
			t.Errorf("%q was not written as %q", x.Key, x.Name)
		}
		want = append(want, x.Key)
	}
	slices.Sort(want)
	if got := listing(t, b, w.a, 3, blob.ListOptions{}); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	for _, x := range n.Pages {
		token, err := openPageToken(k, pageAD(k, x.Label, true), &driver.ListOptions{Prefix: x.Prefix, Delimiter: x.Delimiter, PageToken: x.Sealed})
		if err != nil || !bytes.Equal(token, x.Token) {
			t.Errorf("page token: %x, %v; want %x", token, err, x.Token)
		}
	}
	for _, name := range n.Foreign {
		putRaw(t, inner, sealedPrefix(id)+name, raw{body: []byte("x")})
		if _, _, err := b.ListPage(w.a, blob.FirstPageToken, 1, nil); !errors.Is(err, storage.ErrIsolation) {
			t.Errorf("with %q: %v", name, err)
		}
		must(t, inner.Delete(t.Context(), sealedPrefix(id)+name))
	}
	for _, name := range n.Junk {
		putRaw(t, inner, sealedPrefix(id)+name, raw{body: []byte("x")})
	}
	if got := listing(t, b, w.a, 1000, blob.ListOptions{}); !slices.Equal(got, want) {
		t.Errorf("with junk listed %q, want %q", got, want)
	}
}

// checkGoldenGrants uses the golden tokens.
func checkGoldenGrants(t *testing.T, w *world, g *golden.Blobs) {
	t.Helper()
	h, err := g.Signer()
	must(t, err)
	signer, err := NewSigner(h, nil)
	must(t, err)
	b, _ := w.mem(t, "scans")
	handler, err := NewHandler(b, signer, nil)
	must(t, err)
	for _, x := range g.Grants {
		signer.now = func() time.Time { return time.Unix(x.Expires-1, 0) }
		if x.Method == byte(envelope.GrantPut) {
			r := httptest.NewRequest(http.MethodPut, "/?token="+x.Token, strings.NewReader("content"))
			r.Header.Set("Content-Type", x.ContentType)
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, r)
			if answer.Code != http.StatusCreated {
				t.Errorf("PUT: %d", answer.Code)
			}
			continue
		}
		must(t, b.WriteAll(w.a, x.Key, []byte("content"), nil))
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/?token="+x.Token, nil))
		if answer.Code != http.StatusOK || answer.Body.String() != "content" {
			t.Errorf("GET: %d", answer.Code)
		}
	}
}

// makeGolden makes new vectors, for the tenant, keys and objects of the others.
func makeGolden(t *testing.T) {
	w, v := goldenWorld(t)
	id := tenant.MustParse(v.Tenant)
	k, err := tenantkeys.Open(w.a, w.ring, id)
	must(t, err)
	g := &golden.Blobs{Comment: "Test vectors for FORMAT.md. The keys here are in the clear and protect nothing."}
	for i, o := range v.Objects {
		_, stored := goldenObject(t, v, o.File)
		a := &attributes{Headers: stored[:headersSize], ContentType: "image/x-dicom"}
		if i > 0 {
			a = &attributes{Headers: stored[:headersSize], ContentType: "text/plain", CacheControl: "no-cache", ContentDisposition: "inline", ContentEncoding: "gzip",
				ContentLanguage: "de", MD5: []byte("0123456789abcdef"), Metadata: map[string]string{"patient": "<Zoë>"},
				Imported: &provenance{Source: []byte("0123456789abcdef"), Version: []byte("fedcba9876543210")}}
		}
		sealed, err := a.seal(k, o.Label, o.Key, DefaultAttributesLimit)
		must(t, err)
		var text bytes.Buffer
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		must(t, enc.Encode(a))
		g.Attributes = append(g.Attributes, golden.BlobAttributes{File: o.File, Label: o.Label, Key: o.Key, JSON: strings.TrimSpace(text.String()), Sealed: sealed[attributesName]})
	}
	page := golden.BlobPage{Label: "scans", Prefix: "2024/", Delimiter: "/", Token: []byte("t-_41cme-1/2024/ct.dcm")}
	page.Sealed, err = sealPageToken(k, pageAD(k, page.Label, false), &driver.ListOptions{Prefix: page.Prefix, Delimiter: page.Delimiter}, page.Token)
	must(t, err)
	g.Pages = append(g.Pages, page)
	for _, key := range []string{"a", "a/b", ".", "..", "../a", "a//b", "/a", "a/", "a/./b", ".!", ".~/", "ü"} {
		for _, who := range []string{"Acme-1", "a"} {
			name, err := scopeOf(tenant.MustParse(who)).name(key)
			must(t, err)
			g.Names = append(g.Names, golden.BlobName{Tenant: who, Key: key, Name: name})
		}
	}
	makeGoldenGrants(t, g, id)
	text, err := json.MarshalIndent(g, "", "\t")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(moduleRoot, golden.BlobsFile), append(text, '\n'), 0o644))
}

func makeGoldenGrants(t *testing.T, g *golden.Blobs, id tenant.ID) {
	t.Helper()
	h := newHandle(t, aead.AES256GCMKeyTemplate())
	var text bytes.Buffer
	must(t, insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&text)))
	g.GrantKeyset = text.Bytes()
	signer, err := NewSigner(h, nil)
	must(t, err)
	signer.now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	access := tenant.Access{Tenant: id, Actor: "doctor-1", Purpose: "treatment", Request: "r-1"}
	for _, grant := range []Grant{
		{Method: "GET", Key: "2024/ct.dcm", Lifetime: time.Minute},
		{Method: "PUT", Key: "new", MaxBytes: 1000, ContentType: "image/png", CreateOnly: true},
	} {
		token, _, err := signer.issue(access, "scans", grant.Key, &grant)
		must(t, err)
		x, err := signer.open("scans", token)
		must(t, err)
		g.Grants = append(g.Grants, golden.BlobGrant{ID: x.ID[:], Issued: x.Issued, Expires: x.Expires, MaxBytes: x.MaxBytes, Method: byte(x.Method),
			CreateOnly: x.CreateOnly, FixedType: x.FixedType, Tenant: id.String(), Actor: x.Actor, Purpose: x.Purpose, Request: x.Request,
			Label: "scans", Key: x.Key, ContentType: x.ContentType, Plain: envelope.AppendGrant(nil, x), Token: token})
	}
	g.GrantAD = envelope.BlobGrantAD(nil, "scans")
	plain := g.Grants[0].Plain
	for _, b := range [][]byte{nil, plain[:len(plain)-1], append(bytes.Clone(plain), 0), patch(plain, 40, 0), patch(plain, 40, 4), patch(plain, 41, 4), patch(plain, 45, 0), patch(plain, 32, 0x80)} {
		g.Malformed = append(g.Malformed, b)
	}
}

func patch(b []byte, at int, to byte) []byte {
	b = bytes.Clone(b)
	b[at] = to
	return b
}
