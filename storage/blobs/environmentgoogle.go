package blobs

import (
	"encoding/json"
	"errors"
	"io"
	"net/url"
)

// judgeCredentials judges each URL in a file of credentials, since each kind of them has others, of which some are asked for tokens. A
// file that is no JSON is for the SDK to refuse.
func judgeCredentials(f io.Reader) error {
	for tokens := json.NewDecoder(f); ; {
		token, err := tokens.Token()
		var syntax *json.SyntaxError
		switch {
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &syntax):
			return nil
		case err != nil:
			return err
		}
		text, _ := token.(string)
		if u, err := url.Parse(text); err == nil && u.Scheme == "http" {
			if err := judgeMetadata("a URL in it", text); err != nil {
				return err
			}
		}
	}
}
