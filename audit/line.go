package audit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"golang.org/x/mod/sumdb/tlog"
)

// lineMeta is what a log needs to know of one of its lines again. The byte slices are parts of the line.
type lineMeta struct {
	code     []byte
	tenant   []byte // nil for none
	sequence int64  // 0 for none, which only a head leaf has
	uid      []byte
	stream   []byte // nil for an event that no stream brought
	number   int64  // in the stream
}

// parseMeta reads the metadata object at the end of a line that this package wrote; ok is false for any other.
//
// It need not be a general JSON parser, and for speed is none: a quotation mark inside a string is always escaped, so
// the last bytes that look like the beginning of the metadata object are that.
func parseMeta(line []byte) (m lineMeta, ok bool) {
	at := lastMetadata(line)
	if at < 0 || !bytes.HasPrefix(line, []byte(`{"time":`)) || !bytes.HasSuffix(line, []byte("}}")) {
		return m, false
	}
	rest := line[at+len(metadataKey) : len(line)-2]
	for len(rest) > 0 {
		var key, value []byte
		if key, value, rest, ok = member(rest); !ok {
			return m, false
		}
		switch string(key) {
		case "event_code":
			m.code, ok = unquote(value)
		case "tenant_uid":
			m.tenant, ok = unquote(value)
		case "sequence":
			m.sequence, ok = positive(value)
		case "uid":
			m.uid, ok = unquote(value)
		case "loggers":
			m.stream, m.number, ok = parseLogger(value)
		}
		if !ok {
			return m, false
		}
	}
	return m, len(m.code) > 0
}

// lastMetadata returns where metadataKey last stands in the line; below 0 for nowhere. It looks at braces alone, which is faster than
// bytes.LastIndex.
func lastMetadata(line []byte) int {
	for end := len(line); ; {
		end = bytes.LastIndexByte(line[:end], '{')
		if end < 0 || bytes.HasSuffix(line[:end+1], []byte(metadataKey)) {
			return end + 1 - len(metadataKey)
		}
	}
}

// member splits `"key":value` and a comma from b.
func member(b []byte) (key, value, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, nil, false
	}
	end := bytes.IndexByte(b[1:], '"')
	if end < 0 || end+2 >= len(b) || b[end+2] != ':' {
		return nil, nil, nil, false
	}
	key, b = b[1:end+1], b[end+3:]
	depth, quoted := 0, false
	for i, c := range b {
		switch {
		case c == '\\':
			return nil, nil, nil, false // nothing in the metadata needs an escape
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ',' && depth == 0:
			return key, b[:i], b[i+1:], i+1 < len(b)
		}
	}
	return key, b, nil, depth == 0 && !quoted && len(b) > 0
}

func unquote(b []byte) ([]byte, bool) {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return nil, false
	}
	return b[1 : len(b)-1], true
}

// positive parses a positive decimal number without leading zeros.
func positive(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 || b[0] == '0' {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// headLeaf is what a head leaf says of its tenant.
type headLeaf struct {
	size int64
	root tlog.Hash
}

func parseHead(line []byte) (h headLeaf, ok bool) {
	var doc struct {
		Unmapped struct {
			Head struct {
				Size int64  `json:"size"`
				Root string `json:"root"`
			} `json:"head"`
		} `json:"unmapped"`
	}
	if json.Unmarshal(line, &doc) != nil {
		return h, false
	}
	root, err := base64.StdEncoding.DecodeString(doc.Unmapped.Head.Root)
	if err != nil || len(root) != len(h.root) {
		return h, false
	}
	h.size = doc.Unmapped.Head.Size
	copy(h.root[:], root)
	return h, true
}

// beginsLine tells whether b is what a write cut short could have left of an event's line: the beginning of one, or a
// whole one without its newline, perhaps with zeros where the file was extended and never filled.
func beginsLine(b []byte) bool {
	b = bytes.TrimRight(b, "\x00")
	const begin = `{"time":`
	if len(b) <= len(begin) {
		return bytes.HasPrefix([]byte(begin), b)
	}
	if !bytes.HasPrefix(b, []byte(begin)) || bytes.ContainsFunc(b, func(r rune) bool { return r < 0x20 }) {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	var whole json.RawMessage
	return dec.Decode(&whole) != nil || dec.InputOffset() == int64(len(b))
}
