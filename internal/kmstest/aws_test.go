package kmstest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/kektest"
	"github.com/strongroom-go/strongroom/keys/kmskek"
	"github.com/strongroom-go/strongroom/tenant"
)

// awsKMS answers Tink's client as AWS KMS does.
type awsKMS struct{ *vault }

func (k awsKMS) Encrypt(ctx context.Context, in *kms.EncryptInput, _ ...func(*kms.Options)) (*kms.EncryptOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, operation("Encrypt", err)
	}
	if len(in.Plaintext) > 4096 {
		return nil, operation("Encrypt", &smithy.GenericAPIError{Code: "ValidationException", Message: "1 validation error detected"})
	}
	key, err := k.key(aws.ToString(in.KeyId))
	if err != nil {
		return nil, operation("Encrypt", awsError(err))
	}
	out, err := key.Encrypt(in.Plaintext, []byte(in.EncryptionContext["associatedData"]))
	return &kms.EncryptOutput{CiphertextBlob: out, KeyId: in.KeyId}, err
}

func (k awsKMS) Decrypt(ctx context.Context, in *kms.DecryptInput, _ ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, operation("Decrypt", err)
	}
	key, err := k.key(aws.ToString(in.KeyId))
	if err != nil {
		return nil, operation("Decrypt", awsError(err))
	}
	out, err := key.Decrypt(in.CiphertextBlob, []byte(in.EncryptionContext["associatedData"]))
	if err != nil {
		return nil, operation("Decrypt", &types.InvalidCiphertextException{})
	}
	return &kms.DecryptOutput{Plaintext: out, KeyId: in.KeyId}, nil
}

// operation is an error as the SDK returns it.
func operation(name string, err error) error {
	return &smithy.OperationError{ServiceID: "KMS", OperationName: name, Err: err}
}

func awsError(err error) error {
	switch {
	case errors.Is(err, errAbsent):
		return &types.NotFoundException{Message: aws.String("Key does not exist")}
	case errors.Is(err, errDenied):
		return &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not authorized to perform: kms:Decrypt"}
	case errors.Is(err, errDisabled):
		return &types.DisabledException{}
	}
	return &types.KMSInternalException{}
}

func awsKEK(t testing.TB, v *vault, o *kmskek.Options) *kmskek.KEK {
	client, err := awskms.NewClientWithOptions(t.Context(), "aws-kms://", awskms.WithKMS(awsKMS{v}))
	must(t, err)
	kek, err := kmskek.New(client, func(id tenant.ID) (string, error) { return "aws-kms://" + arn(id), nil }, o)
	must(t, err)
	return kek
}

func arn(id tenant.ID) string { return "arn:aws:kms:eu-central-1:111122223333:key/" + id.Segment() }

func TestAWS(t *testing.T) {
	t.Run("conformance", func(t *testing.T) {
		kektest.Run(t, func(t testing.TB) keys.KEK {
			v := newVault()
			return awsKEK(t, v, v.managed(arn))
		})
	})
	t.Run("withdrawn", func(t *testing.T) {
		withdrawn(t, arn, func(t *testing.T, v *vault, o *kmskek.Options) keys.KEK { return awsKEK(t, v, o) })
	})
	t.Run("no endpoint", func(t *testing.T) { // the SDK's own client, which finds nobody
		cfg := aws.Config{Region: "eu-central-1", BaseEndpoint: aws.String("http://127.0.0.1:1"), RetryMaxAttempts: 1,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "canary-secret"}, nil
			})}
		client, err := awskms.NewClientWithOptions(t.Context(), "aws-kms://", awskms.WithKMS(kms.NewFromConfig(cfg)))
		must(t, err)
		kek, err := kmskek.New(client, func(id tenant.ID) (string, error) { return "aws-kms://" + arn(id), nil }, nil)
		must(t, err)
		if _, err := kek.Wrap(t.Context(), acme, []byte("keys")); !errors.Is(err, keys.ErrUnavailable) || strings.Contains(err.Error(), "canary-secret") {
			t.Error(err)
		}
	})
}
