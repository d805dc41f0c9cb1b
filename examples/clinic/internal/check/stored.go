package check

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
	"github.com/tink-crypto/tink-go/v2/tink"
	"gocloud.dev/blob"
)

// opener opens what is a clinic's.
type opener struct {
	values  tink.AEAD
	objects tink.StreamingAEAD
}

func (c *checker) opener(ctx context.Context, clinic string) (*opener, error) {
	if o := c.keys[clinic]; o != nil {
		return o, nil
	}
	data, err := c.Keys(ctx, clinic, "data")
	if err != nil {
		return nil, err
	}
	blobs, err := c.Keys(ctx, clinic, "blobs")
	if err != nil {
		return nil, err
	}
	o := &opener{}
	if o.values, err = aead.New(data); err != nil {
		return nil, err
	}
	if o.objects, err = streamingaead.New(blobs); err != nil {
		return nil, err
	}
	c.keys[clinic] = o
	return o, nil
}

// component is C(x) of the format, and bound the associated data of a kind.
func component(s string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func bound(kind byte, clinic string, parts ...string) []byte {
	ad := "\x01" + string(kind) + component(clinic)
	for _, p := range parts {
		ad += component(p)
	}
	return []byte(ad)
}

// text opens a sealed column's text: type 1.
func (o *opener) text(clinic, table, column string, sealed []byte) (string, error) {
	plain, err := o.values.Decrypt(sealed, bound(1, clinic, table, column))
	if err != nil || len(plain) == 0 || plain[0] != 1 {
		return "", fmt.Errorf("a value of %s.%s of %s does not open", table, column, clinic)
	}
	return string(plain[1:]), nil
}

// sealedText is a row's: whose, its id, that of its patient, and one sealed text.
type sealedText struct {
	clinic, id, patient string
	sealed              []byte
}

func (c *checker) rows(ctx context.Context, query string, f func(sealedText) error) error {
	rows, err := c.DB.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r sealedText
		if err := rows.Scan(&r.clinic, &r.id, &r.patient, &r.sealed); err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
		c.report.Rows++
	}
	return rows.Err()
}

// readRows opens every row, and holds it against who stored it.
func (c *checker) readRows(ctx context.Context) error {
	for _, t := range []struct {
		query, table, column string
		written              map[place]*entry
		text                 func(*entry) string
	}{
		{`SELECT tenant_id, id, id, name FROM patients`, "patients", "name", c.patients, func(e *entry) string { return e.Name }},
		{`SELECT tenant_id, id, patient_id, finding FROM visits`, "visits", "finding", c.visits, func(e *entry) string { return e.Text }},
		{`SELECT tenant_id, id, patient_id, title FROM scans`, "scans", "title", c.scans, func(e *entry) string { return e.Text }},
	} {
		there := map[place]bool{}
		err := c.rows(ctx, t.query, func(r sealedText) error {
			o, err := c.opener(ctx, r.clinic)
			if err != nil {
				return err
			}
			at := place{r.clinic, r.id}
			e := t.written[at]
			if e == nil || e.Patient != r.patient {
				c.report.problem("%s has a row %s in %s that no request stored", r.clinic, r.id, t.table)
				return nil
			}
			text, err := o.text(r.clinic, t.table, t.column, r.sealed)
			if err != nil {
				c.report.problem("%v: row %s", err, r.id)
			} else if text != t.text(e) {
				c.report.problem("row %s in %s of %s is not what request %s stored", r.id, t.table, r.clinic, e.Request)
			}
			there[at], c.took[e] = true, true
			return nil
		})
		if err != nil {
			return fmt.Errorf("check: %s: %w", t.table, err)
		}
		for at, e := range t.written {
			switch {
			case there[at]:
			case e.acknowledged():
				c.report.problem("LOST: request %s was acknowledged, and %s of %s is not in %s", e.Request, at.id, at.clinic, t.table)
			case c.took[e]: // its other half is there
				c.report.problem("HALF: of request %s the row in %s is missing", e.Request, t.table)
			}
		}
	}
	return nil
}

// readObjects opens every object, and holds it against what was uploaded.
func (c *checker) readObjects(ctx context.Context) error {
	there := map[place]bool{}
	for list := c.Bucket.List(nil); ; {
		object, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("check: the bucket: %w", err)
		}
		segment, key, _ := strings.Cut(object.Key, "/")
		clinic := strings.TrimPrefix(segment, "t-") // of ids in small letters
		at := place{clinic, key}
		e := c.uploads[at]
		if e == nil {
			c.report.problem("the bucket has an object %s that no request stored", object.Key)
			continue
		}
		if err := c.object(ctx, object, clinic, key, e); err != nil {
			c.report.problem("object %s: %v", object.Key, err)
		}
		there[at], c.took[e] = true, true
		c.report.Objects++
	}
	for at, e := range c.uploads {
		if !there[at] && e.acknowledged() {
			c.report.problem("LOST: request %s was acknowledged, and object %s of %s is not in the bucket", e.Request, at.id, at.clinic)
		}
	}
	return nil
}

func (c *checker) object(ctx context.Context, object *blob.ListObject, clinic, key string, e *entry) error {
	sealed, err := c.Bucket.ReadAll(ctx, object.Key)
	if err != nil {
		return err
	}
	o, err := c.opener(ctx, clinic)
	if err != nil {
		return err
	}
	if len(sealed) < 8 || string(sealed[:4]) != "SRB\x01" {
		return errors.New("it has not the header of an object")
	}
	r, err := o.objects.NewDecryptingReader(bytes.NewReader(sealed[8:]), bound(3, clinic, c.Label, key))
	if err != nil {
		return err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return errors.New("it does not open")
	}
	if sum := sha256.Sum256(content); len(content) != e.Size || hex.EncodeToString(sum[:]) != e.SHA256 {
		return fmt.Errorf("it is not what request %s stored", e.Request)
	}
	return nil
}
