package natslog

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/strongroom-go/strongroom/audit/internal/natsconn"
	"github.com/strongroom-go/strongroom/internal/redact"
)

// The servers' codes of errors that are told apart (errors.json of nats-server).
const (
	codeNoMessage     = 10037
	codeStreamMissing = 10059
	codeStoreFailed   = 10077
	codeDuplicates    = 10201
)

// describe returns an error of the client or a server without what might be a secret in it, and
// says what to do where that is known.
func describe(err error) error {
	var api *jetstream.APIError
	var code int
	var text string
	if errors.As(err, &api) {
		code, text = int(api.ErrorCode), api.Description
	}
	var answer *apiError
	if errors.As(err, &answer) {
		code, text = answer.ErrCode, answer.Description
	}
	if code != 0 {
		remedy := map[int]string{
			codeStreamMissing: "the stream is missing: make it with the settings of natslog.Config",
			codeStoreFailed:   "the stream may be full: see that its sealer runs, or raise max_bytes",
			10023:             "the servers have no room left: free some, or raise their limits",
			10008:             "JetStream has no leader or too few nodes: see that a majority of the servers runs",
			10009:             "JetStream has no leader or too few nodes: see that a majority of the servers runs",
			10039:             "JetStream is not enabled for the account",
			10176:             "the batch was cut short by a change of leader or a lost connection",
			10211:             "too many batches are under way",
		}[code]
		if remedy != "" {
			remedy = "; " + remedy
		}
		return fmt.Errorf("the server answered error %d, %s%s", code, redact.Text(text), remedy)
	}
	return natsconn.Describe(err)
}

// apiError is an error in an answer of JetStream.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("error %d: %s", e.ErrCode, e.Description) }

// pubAck is the answer to a message, or to the last one of a batch.
type pubAck struct {
	Error     *apiError `json:"error"`
	Stream    string    `json:"stream"`
	Sequence  uint64    `json:"seq"`
	Duplicate bool      `json:"duplicate"`
	Batch     string    `json:"batch"`
	Count     int       `json:"count"`
}

func parseAck(data []byte, stream string) (*pubAck, error) {
	a := &pubAck{}
	switch err := json.Unmarshal(data, a); {
	case err != nil:
		return nil, errors.New("the answer is not one of JetStream")
	case a.Error != nil:
		return nil, a.Error
	case a.Stream != stream || a.Sequence == 0:
		return nil, errors.New("the answer is of another stream")
	}
	return a, nil
}
