// Package s3env is package testenv's S3 server, in a package of its own: what imports testenv alone, such as the tests of
// packages that a user imports for SQL, does not need the S3 client's modules.
package s3env

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/strongroom-go/strongroom/internal/testenv"
	"github.com/strongroom-go/strongroom/internal/testenv/wire"
)

const (
	s3Port   = "7070/tcp"
	s3Region = "us-east-1"
)

// S3Server is a running S3 server (Versity Gateway on memory), spoken to with path-style addresses.
type S3Server struct {
	Endpoint  string // http://host:port
	AccessKey string
	SecretKey string
	Region    string
}

var shared testenv.Shared[*S3Server]

// Server returns the process's S3 server. It skips the test where there is none; see package testenv.
func Server(t testing.TB) *S3Server {
	t.Helper()
	return shared.Get(t, startS3)
}

func startS3(ctx context.Context) (*S3Server, error) {
	s := &S3Server{AccessKey: rand.Text(), SecretKey: rand.Text(), Region: s3Region}
	c, err := testenv.Start(ctx, wire.Spec{
		Variable: "STRONGROOM_S3_IMAGE", Port: s3Port,
		// Objects and their metadata live on tmpfs: quick, and with the sidecar independent of whether the
		// container's file system has extended attributes.
		Tmpfs:      map[string]string{"/objects": "mode=0777", "/metadata": "mode=0777", "/versions": "mode=0777"},
		Env:        map[string]string{"ROOT_ACCESS_KEY_ID": s.AccessKey, "ROOT_SECRET_ACCESS_KEY": s.SecretKey, "VGW_REGION": s.Region},
		Entrypoint: []string{"versitygw"},
		Cmd:        []string{"--port", ":7070", "--health", "/health", "posix", "--sidecar", "/metadata", "--versioning-dir", "/versions", "/objects"},
		Ready:      wire.Ready{HTTP: "/health"},
	})
	if err != nil {
		return nil, err
	}
	s.Endpoint = "http://" + c.Address
	// Its health says that it listens; that it serves S3 to these credentials is what the tests need.
	err = testenv.Poll(ctx, func(ctx context.Context) error {
		_, err := s.client().ListBuckets(ctx, &s3.ListBucketsInput{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("testenv: S3 server does not serve: %w", err)
	}
	return s, nil
}

func (s *S3Server) client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint),
		Region:       s.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		UsePathStyle: true,
	})
}

// Client returns a new client, as s3blob.OpenBucket takes it; no environment variable has a say in it.
func (s *S3Server) Client(t testing.TB) *s3.Client {
	t.Helper()
	return s.client()
}

// NewBucket makes a bucket for this test and returns its name. When the test ends the bucket is removed with what
// is in it, as far as that works: the server goes away anyway.
func (s *S3Server) NewBucket(t testing.TB) (name string) {
	t.Helper()
	name = testenv.UniqueName("bucket")
	client := s.client()
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatalf("testenv: make bucket %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := testenv.CleanupContext()
		defer cancel()
		if err := removeBucket(ctx, client, name); err != nil {
			t.Logf("testenv: remove bucket %s: %v", name, err)
		}
	})
	return name
}

// BucketURL returns the URL by which gocloud.dev's s3 opener finds the bucket. A URL has no place for credentials:
// see [S3Server.Setenv].
func (s *S3Server) BucketURL(name string) string {
	query := url.Values{
		"endpoint":           {s.Endpoint},
		"hostname_immutable": {"true"},
		"use_path_style":     {"true"},
		"region":             {s.Region},
	}
	return "s3://" + name + "?" + query.Encode()
}

// Setenv puts the server's credentials where an opener of URLs looks for them, for the rest of the test, which
// therefore must not be parallel.
func (s *S3Server) Setenv(t testing.TB) {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey)
	t.Setenv("AWS_SESSION_TOKEN", "")
}

func removeBucket(ctx context.Context, client *s3.Client, name string) error {
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		var gone *types.NoSuchBucket
		if errors.As(err, &gone) {
			return nil // the test removed it
		}
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		for _, object := range page.Contents {
			if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &name, Key: object.Key}); err != nil {
				return fmt.Errorf("delete an object: %w", err)
			}
		}
	}
	if _, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}
