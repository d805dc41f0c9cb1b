package kmstest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/tink-crypto/tink-go-gcpkms/v2/integration/gcpkms"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/kektest"
	"github.com/strongroom-go/strongroom/keys/kmskek"
	"github.com/strongroom-go/strongroom/tenant"
)

// googleKMS answers Tink's client as Cloud KMS does, over gRPC and over HTTP.
type googleKMS struct {
	kmspb.UnimplementedKeyManagementServiceServer
	*vault
}

func sum(b []byte) int64 { return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))) }

func (k googleKMS) Encrypt(_ context.Context, in *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	key, err := k.key(in.Name)
	if err != nil {
		return nil, googleError(err)
	}
	out, err := key.Encrypt(in.Plaintext, in.AdditionalAuthenticatedData)
	return &kmspb.EncryptResponse{Name: in.Name + "/cryptoKeyVersions/1", Ciphertext: out, CiphertextCrc32C: wrapperspb.Int64(sum(out)),
		VerifiedPlaintextCrc32C:                   in.PlaintextCrc32C.GetValue() == sum(in.Plaintext),
		VerifiedAdditionalAuthenticatedDataCrc32C: in.AdditionalAuthenticatedDataCrc32C.GetValue() == sum(in.AdditionalAuthenticatedData)}, err
}

func (k googleKMS) Decrypt(_ context.Context, in *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	key, err := k.key(in.Name)
	if err != nil {
		return nil, googleError(err)
	}
	out, err := key.Decrypt(in.Ciphertext, in.AdditionalAuthenticatedData)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, "Decryption failed: the ciphertext is invalid.")
	}
	return &kmspb.DecryptResponse{Plaintext: out, PlaintextCrc32C: wrapperspb.Int64(sum(out))}, nil
}

func googleError(err error) error {
	switch {
	case errors.Is(err, errAbsent):
		return status.Error(codes.NotFound, "CryptoKey not found.")
	case errors.Is(err, errDenied):
		return status.Error(codes.PermissionDenied, "Permission 'cloudkms.cryptoKeyVersions.useToDecrypt' denied")
	case errors.Is(err, errDisabled):
		return status.Error(codes.FailedPrecondition, "is not enabled, current state is: DISABLED.")
	}
	return status.Error(codes.Unavailable, "")
}

// ServeHTTP is the REST API, as much of it as Tink's client calls: https://cloud.google.com/kms/docs/reference/rest.
func (k googleKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ Plaintext, Ciphertext, AdditionalAuthenticatedData string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	bytesOf := func(s string) []byte { b, _ := base64.URLEncoding.DecodeString(s); return b }
	name, method, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), ":")
	var answer map[string]any
	var err error
	switch method {
	case "encrypt":
		plaintext, ad := bytesOf(in.Plaintext), bytesOf(in.AdditionalAuthenticatedData)
		var out *kmspb.EncryptResponse
		out, err = k.Encrypt(r.Context(), &kmspb.EncryptRequest{Name: name, Plaintext: plaintext, AdditionalAuthenticatedData: ad})
		answer = map[string]any{"name": out.GetName(), "ciphertext": base64.StdEncoding.EncodeToString(out.GetCiphertext()), "ciphertextCrc32c": fmt.Sprint(sum(out.GetCiphertext())),
			"verifiedPlaintextCrc32c": true, "verifiedAdditionalAuthenticatedDataCrc32c": true}
	case "decrypt":
		var out *kmspb.DecryptResponse
		out, err = k.Decrypt(r.Context(), &kmspb.DecryptRequest{Name: name, Ciphertext: bytesOf(in.Ciphertext), AdditionalAuthenticatedData: bytesOf(in.AdditionalAuthenticatedData)})
		answer = map[string]any{"plaintext": base64.StdEncoding.EncodeToString(out.GetPlaintext()), "plaintextCrc32c": fmt.Sprint(sum(out.GetPlaintext()))}
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		code := map[codes.Code]int{codes.NotFound: 404, codes.PermissionDenied: 403, codes.FailedPrecondition: 400, codes.InvalidArgument: 400, codes.Unavailable: 503}[status.Code(err)]
		name := map[codes.Code]string{codes.FailedPrecondition: "FAILED_PRECONDITION", codes.InvalidArgument: "INVALID_ARGUMENT"}[status.Code(err)]
		w.WriteHeader(code)
		answer = map[string]any{"error": map[string]any{"code": code, "message": status.Convert(err).Message(), "status": name}}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func name(id tenant.ID) string {
	return "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/" + id.Segment()
}

func googleKEK(t testing.TB, o *kmskek.Options, opts ...gcpkms.Option) *kmskek.KEK {
	client, err := gcpkms.NewClient(t.Context(), "gcp-kms://", opts...)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	kek, err := kmskek.New(client, func(id tenant.ID) (string, error) { return "gcp-kms://" + name(id), nil }, o)
	must(t, err)
	return kek
}

// overGRPC is a client of a server that answers for v.
func overGRPC(t testing.TB, v *vault) []gcpkms.Option {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer()
	kmspb.RegisterKeyManagementServiceServer(server, googleKMS{vault: v})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return []gcpkms.Option{gcpkms.WithGoogleAPIClientOptions(option.WithEndpoint(listener.Addr().String()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))}
}

func overHTTP(t testing.TB, v *vault) []gcpkms.Option {
	server := httptest.NewServer(googleKMS{vault: v})
	t.Cleanup(server.Close)
	return []gcpkms.Option{gcpkms.WithTransport(gcpkms.TransportREST), gcpkms.WithGoogleAPIClientOptions(option.WithEndpoint(server.URL), option.WithHTTPClient(server.Client()))}
}

func TestGoogle(t *testing.T) {
	for transport, serve := range map[string]func(testing.TB, *vault) []gcpkms.Option{"gRPC": overGRPC, "REST": overHTTP} {
		t.Run(transport+"/conformance", func(t *testing.T) {
			kektest.Run(t, func(t testing.TB) keys.KEK {
				v := newVault()
				return googleKEK(t, v.managed(name), serve(t, v)...)
			})
		})
		t.Run(transport+"/withdrawn", func(t *testing.T) {
			withdrawn(t, name, func(t *testing.T, v *vault, o *kmskek.Options) keys.KEK { return googleKEK(t, o, serve(t, v)...) })
		})
	}
}
