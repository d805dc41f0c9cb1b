// Package s3leftovers finds and deletes what an S3 bucket keeps of a tenant beside its objects: the parts of uploads that were
// never finished, and on a bucket with versioning every version and delete marker.
//
//	blobs.Offboard(ctx, bucket, id, &blobs.OffboardOptions{Leftovers: s3leftovers.New(client, "records", "")})
//
// Its client needs s3:ListBucketMultipartUploads, s3:AbortMultipartUpload, s3:GetBucketVersioning, s3:ListBucketVersions and
// s3:DeleteObjectVersion. A version under a retention lock cannot be deleted, which is an error.
package s3leftovers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/strongroom-go/strongroom/storage/blobs"
)

// Store is one bucket. It is safe for concurrent use.
type Store struct {
	client *s3.Client
	bucket string
	prefix string
}

var _ blobs.Leftovers = (*Store)(nil)

// New returns the store of a bucket by its name on S3. Prefix is what the names of all objects begin with, where the bucket
// that was wrapped is a part of it, as with blob.PrefixedBucket; empty otherwise.
func New(client *s3.Client, bucket, prefix string) *Store { return &Store{client, bucket, prefix} }

// maxRounds bounds how often uploads are aborted: a part that is on its way while its upload is aborted may arrive after.
const maxRounds = 4

// Clear implements [blobs.Leftovers].
func (s *Store) Clear(ctx context.Context, prefix string, dryRun bool) (pieces int64, err error) {
	if prefix == "" {
		return 0, errors.New("s3leftovers: no prefix: that would be every tenant's")
	}
	prefix = s.prefix + prefix
	for range maxRounds {
		n, err := s.uploads(ctx, prefix, dryRun)
		pieces += n
		if err != nil {
			return pieces, err
		}
		if n == 0 || dryRun {
			n, err := s.versions(ctx, prefix, dryRun)
			return pieces + n, err
		}
	}
	return pieces, errors.New("s3leftovers: unfinished uploads keep coming while they are aborted; see what makes them, and run it again")
}

// uploads aborts the unfinished uploads, and S3 deletes their parts.
func (s *Store) uploads(ctx context.Context, prefix string, dryRun bool) (n int64, err error) {
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, fmt.Errorf("s3leftovers: list unfinished uploads: %w", err)
		}
		for _, u := range page.Uploads {
			if u.Key == nil || !strings.HasPrefix(*u.Key, prefix) {
				return n, errOutside
			}
			if !dryRun {
				_, err = s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: u.Key, UploadId: u.UploadId})
				var gone *types.NoSuchUpload
				if err != nil && !errors.As(err, &gone) {
					return n, fmt.Errorf("s3leftovers: abort an unfinished upload: %w", err)
				}
			}
			n++
		}
	}
	return n, nil
}

var errOutside = errors.New("s3leftovers: the store listed a name outside of the prefix it was asked for")

// versions deletes versions and delete markers. In a dry run the newest version is an object, and counted as that.
func (s *Store) versions(ctx context.Context, prefix string, dryRun bool) (n int64, err error) {
	versioning, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.bucket})
	var api smithy.APIError
	switch {
	case errors.As(err, &api) && slices.Contains([]string{"VersioningNotConfigured", "NotImplemented"}, api.ErrorCode()):
		return 0, nil // a store without versions
	case err != nil:
		return 0, fmt.Errorf("s3leftovers: ask whether the bucket has versioning: %w", err)
	case versioning.Status == "":
		return 0, nil // it never had
	}
	pages := s3.NewListObjectVersionsPaginator(s.client, &s3.ListObjectVersionsInput{Bucket: &s.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, fmt.Errorf("s3leftovers: list versions: %w", err)
		}
		for _, v := range page.Versions {
			if dryRun && v.IsLatest != nil && *v.IsLatest {
				continue
			}
			if err := s.version(ctx, prefix, v.Key, v.VersionId, dryRun); err != nil {
				return n, err
			}
			n++
		}
		for _, m := range page.DeleteMarkers {
			if err := s.version(ctx, prefix, m.Key, m.VersionId, dryRun); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (s *Store) version(ctx context.Context, prefix string, key, version *string, dryRun bool) error {
	if key == nil || version == nil || !strings.HasPrefix(*key, prefix) {
		return errOutside
	}
	if dryRun {
		return nil
	}
	if _, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: key, VersionId: version}); err != nil {
		return fmt.Errorf("s3leftovers: delete a version: %w", err)
	}
	return nil
}
