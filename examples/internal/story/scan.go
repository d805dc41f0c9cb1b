package story

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/strongroom-go/strongroom/examples/quickstart/data"
)

// secrets are what must not be found in anything that was written: all sealed values but the birthdays, whose ten
// digits say little; the scans; and, in the audit trail, who did it and why.
func (s *story) secrets() []string {
	secrets := []string{newNote, suspendReason, "dr.adams", "dr.baker"}
	for _, p := range s.cast.patients {
		secrets = append(secrets, p.Name)
		if p.SSN.Valid {
			secrets = append(secrets, p.SSN.V)
		}
		if p.Notes.Valid {
			secrets = append(secrets, p.Notes.V, p.Notes.V[strings.LastIndex(p.Notes.V, "[note "):])
		}
	}
	for _, v := range s.cast.visits {
		if v.Finding.Valid {
			secrets = append(secrets, v.Finding.V)
		}
	}
	for _, clinic := range clinics {
		secrets = append(secrets, data.ScanMarker(clinic.String()))
	}
	slices.Sort(secrets)
	return slices.Compact(secrets)
}

// scanEverything looks for secrets in every place, and for what is stored in the clear, which it must find: a search
// that finds nothing at all proves nothing.
func (s *story) scanEverything(ctx context.Context) (string, error) {
	secrets := s.secrets()
	plain := []string{data.Departments["CARD"], s.cast.south.Insurer.V, suspendedInTrail}
	search, err := newSearch(append(slices.Clone(secrets), plain...))
	if err != nil {
		return "", err
	}
	found := map[string]string{}
	pieces, size := 0, int64(0)
	for _, place := range s.AtRest {
		err := place.Read(ctx, func(piece string, content io.Reader) error {
			n, err := search.read(content, func(what string) { found[what] = piece })
			pieces, size = pieces+1, size+n
			return err
		})
		if err != nil {
			return "", fmt.Errorf("%s: %w", place.Name, err)
		}
	}
	for _, secret := range secrets {
		if where, is := found[secret]; is {
			return "", fmt.Errorf("%s holds a sealed value in the clear", where)
		}
	}
	for _, text := range plain {
		if _, is := found[text]; !is {
			return "", fmt.Errorf("the search is broken: it did not find %q, which is stored in the clear", text)
		}
	}
	return fmt.Sprintf("%d secrets, as they are, in hex and in base64, searched for in %d files or objects, %.1f MiB: none found\n"+
		"%q and %q, which are not sealed, are found", len(secrets), pieces, float64(size)/(1<<20), plain[0], plain[1]), nil
}

// suspendedInTrail is what the audit trail says in the clear about a refused access.
const suspendedInTrail = `"status_detail":"suspended"`

// search finds many texts in one pass, by their first 8 bytes.
type search struct {
	begin  [1 << 16]bool // whether a form begins with these two bytes
	forms  map[uint64][]form
	longer int // the longest form
}

// form is a text in one of the ways in which it can stand in a file.
type form struct{ bytes, text string }

const window = 8

func newSearch(texts []string) (*search, error) {
	s := &search{forms: make(map[uint64][]form)}
	for _, text := range texts {
		for _, f := range formsOf(text) {
			if len(f) < window {
				return nil, fmt.Errorf("%q is too short to be searched for", text)
			}
			key := binary.LittleEndian.Uint64([]byte(f[:window]))
			s.forms[key] = append(s.forms[key], form{f, text})
			s.begin[binary.LittleEndian.Uint16([]byte(f))] = true
			s.longer = max(s.longer, len(f))
		}
	}
	return s, nil
}

// formsOf returns a text as it is, as hex and JSON show it, and as base64 does, at each of the three places in a group
// of bytes where it can begin; of base64 the part that depends on nothing around the text.
func formsOf(text string) []string {
	h := hex.EncodeToString([]byte(text))
	forms := []string{text, h, strings.ToUpper(h)}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for lead := range 3 {
			padded := strings.Repeat("\x00", lead) + text
			whole := encoding.EncodeToString([]byte(padded[:len(padded)/3*3]))
			if skip := (lead*8 + 5) / 6; len(whole)-skip >= window {
				forms = append(forms, whole[skip:])
			}
		}
	}
	return forms
}

// read searches a stream and calls hit for each text that is in it; it returns how many bytes there were.
func (s *search) read(r io.Reader, hit func(text string)) (int64, error) {
	buf := make([]byte, 0, max(1<<20, 2*s.longer))
	for total := int64(0); ; {
		n, err := io.ReadFull(r, buf[len(buf):cap(buf)])
		total += int64(n)
		buf = buf[:len(buf)+n]
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return total, err
		}
		s.scan(buf, hit)
		if end {
			return total, nil
		}
		// What could be the beginning of a form is looked at again with what follows.
		buf = buf[:copy(buf, buf[len(buf)-s.longer+1:])]
	}
}

func (s *search) scan(b []byte, hit func(text string)) {
	for i := 0; i+window <= len(b); i++ {
		if !s.begin[binary.LittleEndian.Uint16(b[i:])] {
			continue
		}
		for _, f := range s.forms[binary.LittleEndian.Uint64(b[i:])] {
			if rest := b[i:]; len(rest) >= len(f.bytes) && string(rest[:len(f.bytes)]) == f.bytes {
				hit(f.text)
			}
		}
	}
}
