package storagetest

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/strongroom-go/strongroom/tenant"
)

// objects stores an object of the same name for both tenants, and looks at what each has then.
func (c *check) objects() {
	if c.Bucket == nil {
		return
	}
	const key = "storagetest/object"
	content := func(id tenant.ID) string { return "object of " + id.String() }
	fail := func(what string, id tenant.ID, err error) { c.problem("bucket: %s as %s: %v", what, id, err) }
	for _, id := range []tenant.ID{c.a, c.b} {
		if err := c.Bucket.WriteAll(access(c.ctx, id), key, []byte(content(id)), nil); err != nil {
			fail("write", id, err)
			return
		}
	}
	for _, id := range []tenant.ID{c.a, c.b} {
		got, err := c.Bucket.ReadAll(access(c.ctx, id), key)
		if err == nil && string(got) != content(id) {
			err = fmt.Errorf("it is %q", got)
		}
		if err != nil {
			fail("read", id, err)
		}
		c.sealedObjects(id, content(id))
		if names, err := c.names(id); err != nil || len(names) != 1 || names[0] != key {
			fail("list", id, errors.Join(err, fmt.Errorf("it gave %q", names)))
		}
	}
	if err := c.Bucket.Delete(access(c.ctx, c.a), key); err != nil {
		fail("delete", c.a, err)
	}
	if _, err := c.Bucket.ReadAll(access(c.ctx, c.a), key); gcerrors.Code(err) != gcerrors.NotFound {
		fail("read what was deleted", c.a, err)
	}
	if got, err := c.Bucket.ReadAll(access(c.ctx, c.b), key); err != nil || string(got) != content(c.b) {
		fail("read what another tenant deleted", c.b, errors.Join(err, fmt.Errorf("it is %q", got)))
	}
	if err := c.Bucket.Delete(access(c.ctx, c.b), key); err != nil {
		fail("delete", c.b, err)
	}
}

// sealedObjects looks for what a tenant stored in what is underneath.
func (c *check) sealedObjects(id tenant.ID, content string) {
	if c.RawBucket == nil {
		return
	}
	objects := 0
	for list := c.RawBucket.List(nil); ; objects++ {
		o, err := list.Next(c.ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		var stored []byte
		if err == nil {
			stored, err = c.RawBucket.ReadAll(c.ctx, o.Key)
		}
		if err != nil {
			c.problem("bucket: read without a guard: %v", err)
			return
		}
		if strings.Contains(string(stored), content) {
			c.problem("bucket: the object of %s is stored in the clear", id)
		}
	}
	if objects < 2 {
		c.problem("bucket: RawBucket has %d objects, and the suite stored two: it is not what Bucket is a guard of", objects)
	}
}

func (c *check) names(id tenant.ID) (names []string, err error) {
	list := c.Bucket.List(&blob.ListOptions{Prefix: "storagetest/"})
	for {
		o, err := list.Next(access(c.ctx, id))
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return names, err
		}
		names = append(names, o.Key)
	}
}
