package s3env_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/s3env"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestS3(t *testing.T) {
	server := s3env.Server(t)
	name := server.NewBucket(t)
	server.Setenv(t)
	ctx := t.Context()

	byURL, err := blob.OpenBucket(ctx, server.BucketURL(name))
	if err != nil {
		t.Fatal(err)
	}
	defer byURL.Close()
	byClient, err := s3blob.OpenBucket(ctx, server.Client(t), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer byClient.Close()

	want := bytes.Repeat([]byte("strongroom"), 1<<20)
	options := &blob.WriterOptions{ContentType: "text/plain", Metadata: map[string]string{"k": "v"}, IfNotExist: true}
	if err := byURL.WriteAll(ctx, "dir/a", want, options); err != nil {
		t.Fatal(err)
	}
	// Little of it: the server may answer and close the connection before it has read a large one.
	if err := byURL.WriteAll(ctx, "dir/a", want[:10], options); gcerrors.Code(err) != gcerrors.FailedPrecondition {
		t.Errorf("a second write with IfNotExist: %v; want FailedPrecondition", err)
	}
	got, err := byClient.ReadAll(ctx, "dir/a")
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read back %d bytes, %v; want the %d written", len(got), err, len(want))
	}
	attributes, err := byClient.Attributes(ctx, "dir/a")
	if err != nil || attributes.Metadata["k"] != "v" || attributes.ContentType != "text/plain" {
		t.Errorf("attributes %+v, %v", attributes, err)
	}
	r, err := byClient.NewRangeReader(ctx, "dir/a", 7, 6, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if part, err := io.ReadAll(r); err != nil || string(part) != "oomstr" {
		t.Errorf("a range: %q, %v", part, err)
	}
}

func TestS3RefusesOtherCredentials(t *testing.T) {
	server := s3env.Server(t)
	stranger := *server
	stranger.SecretKey = "wrong"
	name := server.NewBucket(t)
	if _, err := stranger.Client(t).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &name}); err == nil {
		t.Fatal("a wrong secret key listed a bucket")
	}
}
