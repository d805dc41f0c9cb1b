package s3leftovers_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/strongroom-go/strongroom/audit"
	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/filestore"
	"github.com/strongroom-go/strongroom/keys/localkek"
	"github.com/strongroom-go/strongroom/storage"
	"github.com/strongroom-go/strongroom/storage/blobs"
	"github.com/strongroom-go/strongroom/storage/blobs/s3leftovers"
	"github.com/strongroom-go/strongroom/tenant"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var leaving, other = tenant.MustParse("a"), tenant.MustParse("ab")

type nowhere struct{}

func (nowhere) Record(context.Context, *audit.Event) error { return nil }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func as(id tenant.ID) context.Context {
	return tenant.NewContext(context.Background(), tenant.Access{Tenant: id, Actor: "operator", Purpose: "offboarding"})
}

func ring(t *testing.T) *keys.Keyring {
	t.Helper()
	kek, err := localkek.Open(filepath.Join(t.TempDir(), "kek.json"), nil)
	must(t, err)
	store, err := filestore.Open(filepath.Join(t.TempDir(), "keys"), nil)
	must(t, err)
	r, err := keys.Open(t.Context(), kek, store, &keys.Options{InsecureWithoutAudit: true, SuspendWithin: 300 * time.Millisecond})
	must(t, err)
	t.Cleanup(func() { r.Close() })
	for _, id := range []tenant.ID{leaving, other} {
		must(t, r.Provision(t.Context(), id))
	}
	return r
}

// upload begins an upload and does not finish it.
func upload(t *testing.T, client *s3.Client, bucket, key string) {
	t.Helper()
	u, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	must(t, err)
	number := int32(1)
	_, err = client.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: u.UploadId, PartNumber: &number, Body: bytes.NewReader(make([]byte, 5<<20))})
	must(t, err)
}

func uploads(t *testing.T, client *s3.Client, bucket string) (keys []string) {
	t.Helper()
	out, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	must(t, err)
	for _, u := range out.Uploads {
		keys = append(keys, *u.Key)
	}
	return keys
}

func TestUnfinishedUploadsGoWithTheirTenant(t *testing.T) {
	for _, part := range []string{"", "part/of it/"} {
		t.Run("prefix "+part, func(t *testing.T) {
			server := s3env.Server(t)
			client, name := server.Client(t), server.NewBucket(t)
			inner, err := s3blob.OpenBucket(t.Context(), client, name, nil)
			must(t, err)
			if part != "" {
				inner = blob.PrefixedBucket(inner, part)
			}
			r := ring(t)
			b, err := blobs.Wrap(inner, storage.Guard{Keys: r, Audit: nowhere{}}, &blobs.Options{Label: "records"})
			must(t, err)
			defer b.Close()
			for _, id := range []tenant.ID{leaving, other} {
				must(t, b.WriteAll(as(id), "dir/x", []byte("x"), nil))
				for _, key := range []string{"dir/y", "z", "z"} {
					upload(t, client, name, part+id.Segment()+"/"+key)
				}
			}
			must(t, r.Shred(t.Context(), leaving, ""))
			for _, dryRun := range []bool{true, false} {
				report, err := blobs.Offboard(as(leaving), b, leaving, &blobs.OffboardOptions{DryRun: dryRun, Leftovers: s3leftovers.New(client, name, part)})
				if err != nil || report.Objects != 1 || report.Leftovers != 3 {
					t.Fatalf("%+v, %v", report, err)
				}
				if left := uploads(t, client, name); dryRun && len(left) != 6 || !dryRun && (len(left) != 3 || left[0] != part+"t-ab/dir/y") {
					t.Errorf("dry run %t: left %q", dryRun, left)
				}
			}
			if got, err := b.ReadAll(as(other), "dir/x"); err != nil || string(got) != "x" {
				t.Errorf("the other tenant's: %q, %v", got, err)
			}
		})
	}
}

// Every version goes, and every delete marker; of the others' none.
func TestVersionsGoWithTheirTenant(t *testing.T) {
	server := s3env.Server(t)
	client, name := server.Client(t), server.NewBucket(t)
	_, err := client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	must(t, err)
	for _, key := range []string{"t-a/x", "t-ab/x"} {
		for _, body := range []string{"one", "two"} {
			_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: &key, Body: bytes.NewReader([]byte(body))})
			must(t, err)
		}
		_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &name, Key: &key})
		must(t, err)
	}
	s := s3leftovers.New(client, name, "")
	for _, dryRun := range []bool{true, false} {
		if n, err := s.Clear(t.Context(), "t-a/", dryRun); err != nil || n != 3 {
			t.Errorf("dry run %t: %d, %v", dryRun, n, err)
		}
	}
	left, err := client.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &name})
	must(t, err)
	if len(left.Versions) != 2 || len(left.DeleteMarkers) != 1 || *left.Versions[0].Key != "t-ab/x" {
		t.Errorf("%d versions and %d markers are left", len(left.Versions), len(left.DeleteMarkers))
	}
}

func TestNoPrefixIsRefused(t *testing.T) {
	if _, err := s3leftovers.New(nil, "records", "").Clear(t.Context(), "", true); err == nil {
		t.Error("everybody's leftovers")
	}
}
