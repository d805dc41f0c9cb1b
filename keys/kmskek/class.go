package kmskek

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom-go/strongroom/keys"
)

// Class tells what an error of AWS KMS or Google Cloud KMS means: it is the default of [Options].Class.
func Class(err error) error {
	var aws interface { // smithy.APIError
		error
		ErrorCode() string
	}
	var rest *googleapi.Error
	var rpc interface{ GRPCStatus() *status.Status }
	var network net.Error
	switch {
	case errors.As(err, &aws):
		return ofAWS(aws.ErrorCode(), aws.Error())
	case errors.As(err, &rest):
		return ofHTTP(rest)
	case errors.As(err, &rpc):
		return ofRPC(rpc.GRPCStatus())
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return keys.ErrUnavailable
	}
	return nil
}

// ofAWS: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors and CommonErrors. A key
// that is disabled is an answer, and so is access that is denied. One that is to be deleted is in an invalid state, as the message says. So is
// one in a custom or an external key store that is not connected, or does not answer, which is no proof that there is no key:
// https://docs.aws.amazon.com/kms/latest/developerguide/xks-troubleshooting.html
func ofAWS(code, message string) error {
	switch code {
	case "NotFoundException":
		return keys.ErrNotFound
	case "KMSInvalidStateException":
		message = strings.ToLower(message)
		if strings.Contains(message, "pending deletion") || strings.Contains(message, "pending replica deletion") {
			return keys.ErrNotFound
		}
	case "InvalidCiphertextException", "IncorrectKeyException":
		return keys.ErrIntegrity
	case "KeyUnavailableException", "DependencyTimeoutException", "KMSInternalException", "ThrottlingException", "Throttling", "LimitExceededException",
		"RequestLimitExceeded", "TooManyRequestsException", "InternalFailure", "InternalError", "ServiceUnavailable", "ServiceUnavailableException",
		"RequestTimeout", "RequestTimeoutException", "RequestExpired", "SlowDown":
		return keys.ErrUnavailable
	}
	return nil
}

// ofRPC: https://cloud.google.com/kms/docs/reference/rpc/google.rpc#code. FAILED_PRECONDITION is a version that is
// disabled, or destroyed, or to be destroyed, of which the message names the state (DESTROYED, DESTROY_SCHEDULED).
func ofRPC(s *status.Status) error {
	switch s.Code() {
	case codes.NotFound:
		return keys.ErrNotFound
	case codes.FailedPrecondition:
		if namesEnd(s.Message()) {
			return keys.ErrNotFound
		}
	case codes.InvalidArgument:
		return keys.ErrIntegrity
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted, codes.Internal, codes.Unknown:
		return keys.ErrUnavailable
	}
	return nil
}

// namesEnd tells whether a message names a state that ends a version. It names the version, too, and a key or a ring may be called like a
// state: what is part of a path is none.
func namesEnd(message string) bool {
	words := strings.FieldsFunc(message, func(r rune) bool {
		return r != '/' && r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	return slices.Contains(words, "DESTROYED") || slices.Contains(words, "DESTROY_SCHEDULED")
}

// ofHTTP is the same of the REST API, which has one status for a bad ciphertext and a version that is disabled.
func ofHTTP(err *googleapi.Error) error {
	switch {
	case err.Code == http.StatusNotFound, err.Code == http.StatusBadRequest && namesEnd(err.Body):
		return keys.ErrNotFound
	case err.Code == http.StatusBadRequest && !strings.Contains(err.Body, "FAILED_PRECONDITION"):
		return keys.ErrIntegrity
	case err.Code == http.StatusRequestTimeout, err.Code == http.StatusTooManyRequests, err.Code >= 500:
		return keys.ErrUnavailable
	}
	return nil
}
