package s3lock

import (
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/strongroom-go/strongroom/audit/sink"
)

// Server is where a bucket is, for programs that have no client of their own. Nothing else has a say in it, such as the environment.
type Server struct {
	// Endpoint is the server's URL: https, or on this machine. Default: that of AWS in Region.
	Endpoint string
	// Region is the bucket's, which requests are signed for. Required.
	Region string
	// PathStyle has the bucket's name in the path, and not before the host's name, as most servers but AWS want it.
	PathStyle bool
	// AccessKey and SecretKey are the credentials, with the SessionToken where they are temporary. Both are required.
	AccessKey, SecretKey, SessionToken string
	// Client sends the requests. Default: the SDK's.
	Client *http.Client
}

// OpenAt does what [Open] does, with a client for the server.
func OpenAt(ctx context.Context, server Server, name string, opts Options) (sink.Sink, error) {
	if server.Region == "" || server.AccessKey == "" || server.SecretKey == "" {
		return nil, errors.New("s3lock: Server.Region, AccessKey or SecretKey is missing")
	}
	o := s3.Options{
		Region: server.Region, UsePathStyle: server.PathStyle,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, server.SessionToken),
	}
	if server.Endpoint != "" {
		o.BaseEndpoint = aws.String(server.Endpoint)
	}
	if server.Client != nil {
		o.HTTPClient = server.Client
	}
	return Open(ctx, s3.New(o), name, opts)
}
