// Package s3match makes writes and deletions of package blobs conditional on S3: an object is replaced, or deleted, only if it still has the ETag of the
// version that was read (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
//
//	blobs.Reseal(ctx, bucket, &blobs.ResealOptions{IfMatch: s3match.IfMatch})
//
// The client of gocloud.dev's s3blob needs s3:GetObject and s3:PutObject for it, as it does without. Stores that speak S3 and
// take no conditions are found out by Reseal, and refused.
package s3match

import (
	"errors"

	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
)

// IfMatch is for the IfMatch of blobs.Options, blobs.ResealOptions and blobs.ImportOptions.
func IfMatch(as func(any) bool, read *blob.Attributes) error {
	if read.ETag == "" {
		return errors.New("s3match: the store says no ETag of the object; nothing can be replaced safely")
	}
	etag := read.ETag
	var upload *transfermanager.UploadObjectInput
	var deletion *s3.DeleteObjectInput
	switch {
	case as(&upload):
		upload.IfMatch = &etag
	case as(&deletion):
		deletion.IfMatch = &etag
	default:
		return errors.New("s3match: the store is none of gocloud.dev's s3blob; use its own conditions")
	}
	return nil
}
