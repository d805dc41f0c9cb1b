// Package strictjson reads JSON that declares something of which no part may get lost: what encoding/json passes over
// silently is an error here, and says where it stands.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deeply values may be nested.
const maxDepth = 64

// Unmarshal reads one JSON value into v, a pointer. It refuses what [json.Unmarshal] would ignore or let the last one win:
// members that v has no field for, names of fields in another case, names that stand twice in an object, null, text that is
// not UTF-8, and anything behind the value. Errors name the place, such as "databases[0].url", and repeat no value.
func Unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("the text is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	c := checker{d}
	if err := c.value(reflect.TypeOf(v).Elem(), "", 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something stands behind the value")
	}
	return json.Unmarshal(data, v)
}

// kind tells what a value is, and what one for the type has to be; both are empty where it fits. Encoding/json says it too,
// but not where, once there is a map in between.
func kind(t reflect.Type, token json.Token) (is, want string) {
	if t == nil {
		return "", ""
	}
	switch token := token.(type) {
	case json.Delim:
		if is = "a list"; token == '{' {
			is = "an object"
		}
	case string:
		is = "a string"
	case bool:
		is = "true or false"
	case json.Number:
		is = "a number"
		if _, err := token.Int64(); err == nil {
			is = "an integer"
		}
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		want = "an object"
	case reflect.Slice:
		want = "a list"
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	case reflect.Int, reflect.Int64:
		want = "an integer"
	}
	if is == want || want == "" {
		return "", ""
	}
	return is, want
}

type checker struct{ d *json.Decoder }

var (
	reads     = reflect.TypeFor[json.Unmarshaler]()
	readsText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value checks the next value against the type that it is for; nil where that reads itself, and knows what is in it.
func (c checker) value(t reflect.Type, path string, depth int) error {
	if depth > maxDepth {
		return at(path, fmt.Sprintf("is nested more than %d deep", maxDepth))
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && (reflect.PointerTo(t).Implements(reads) || reflect.PointerTo(t).Implements(readsText)) {
		t = nil
	}
	token, err := c.d.Token()
	if err != nil {
		return syntax(path, err)
	}
	if is, want := kind(t, token); is != "" && token != nil {
		return at(path, "is "+is+" and has to be "+want)
	}
	switch token {
	case nil:
		return at(path, "is null; leave it out")
	case json.Delim('{'):
		return c.object(t, path, depth)
	case json.Delim('['):
		return c.list(t, path, depth)
	}
	return nil
}

func (c checker) list(t reflect.Type, path string, depth int) error {
	var element reflect.Type
	if t != nil && t.Kind() == reflect.Slice {
		element = t.Elem()
	}
	for i := 0; c.d.More(); i++ {
		if err := c.value(element, path+"["+strconv.Itoa(i)+"]", depth+1); err != nil {
			return err
		}
	}
	_, err := c.d.Token()
	return syntax(path, err)
}

func (c checker) object(t reflect.Type, path string, depth int) error {
	seen := map[string]bool{}
	for c.d.More() {
		token, err := c.d.Token()
		if err != nil {
			return syntax(path, err)
		}
		name := token.(string) // the decoder sees to it
		member := join(path, name)
		if seen[name] {
			return at(member, "stands there twice")
		}
		seen[name] = true
		of, err := memberType(t, name)
		if err != nil {
			return at(member, err.Error())
		}
		if err := c.value(of, member, depth+1); err != nil {
			return err
		}
	}
	_, err := c.d.Token()
	return syntax(path, err)
}

// memberType returns the type of an object's member; nil where that is not known.
func memberType(t reflect.Type, name string) (reflect.Type, error) {
	switch {
	case t == nil:
		return nil, nil
	case t.Kind() == reflect.Map:
		return t.Elem(), nil
	}
	var known []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !f.IsExported():
		case tag == name:
			return f.Type, nil
		default:
			known = append(known, tag)
		}
	}
	slices.Sort(known)
	return nil, fmt.Errorf("is not known here; known are %s", strings.Join(known, ", "))
}

// join appends a member to a path. A name that could forge one, or command a terminal, is quoted.
func join(path, name string) string {
	plain := name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	})
	if !plain {
		name = strconv.QuoteToASCII(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

func at(path, what string) error {
	if path == "" {
		path = "the whole"
	}
	return errors.New(path + " " + what)
}

func syntax(path string, err error) error {
	var s *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &s):
		return at(path, fmt.Sprintf("is no JSON, at byte %d", s.Offset))
	}
	return at(path, "ends too early")
}
