package vaultkek

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/kubernetes"

	"github.com/strongroom-go/strongroom/internal/plainfile"
)

// TokenSource returns the JSON Web Token that says which workload this is. It is called for each login, because such
// tokens live shorter than processes do, and must honour ctx. Its errors must not repeat the token.
type TokenSource func(ctx context.Context) (string, error)

// serviceAccountToken is where Kubernetes mounts a pod's token, and renews it.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// maxJWT bounds a token, in bytes: what does not fit into a header is none.
const maxJWT = 64 << 10

// TokenFile returns the source that reads the file at path, anew for each login: a regular one, or a link to one, of at most 64 KiB.
func TokenFile(path string) TokenSource {
	return func(context.Context) (string, error) {
		b, err := plainfile.Read(path, maxJWT)
		if err != nil {
			return "", err
		}
		if b = bytes.TrimSpace(b); len(b) == 0 {
			return "", fmt.Errorf("%s is empty", path)
		}
		return string(b), nil
	}
}

// Kubernetes returns the authentication of a pod by the token of its service account, for a role of a Kubernetes method
// mounted at mount, "kubernetes" if empty. Token nil is the file in which Kubernetes keeps a pod's token.
func Kubernetes(role string, token TokenSource, mount string) (api.AuthMethod, error) {
	if token == nil {
		token = TokenFile(serviceAccountToken)
	}
	mount = cmp.Or(mount, "kubernetes")
	return newWorkload("Kubernetes", role, token, mount, func(ctx context.Context, client *api.Client, jwt string) (*api.Secret, error) {
		a, err := kubernetes.NewKubernetesAuth(role, kubernetes.WithServiceAccountToken(jwt), kubernetes.WithMountPath(mount))
		if err != nil {
			return nil, &credentialError{errors.New("the role, the token or the mount cannot be used")}
		}
		return a.Login(ctx, client)
	})
}

// JWT returns the authentication by a JSON Web Token of an issuer that Vault trusts, for a role of a JWT method mounted at
// mount, "jwt" if empty.
func JWT(role string, token TokenSource, mount string) (api.AuthMethod, error) {
	mount = cmp.Or(mount, "jwt")
	return newWorkload("JWT", role, token, mount, func(ctx context.Context, client *api.Client, jwt string) (*api.Secret, error) {
		return client.Logical().WriteWithContext(ctx, "auth/"+mount+"/login", map[string]any{"role": role, "jwt": jwt})
	})
}

// workload logs in with a token that is asked for each time.
type workload struct {
	role  string
	token TokenSource
	login func(ctx context.Context, client *api.Client, jwt string) (*api.Secret, error)
}

func newWorkload(what, role string, token TokenSource, mount string, login func(context.Context, *api.Client, string) (*api.Secret, error)) (api.AuthMethod, error) {
	switch {
	case role == "":
		return nil, fmt.Errorf("vaultkek: %s needs a role", what)
	case token == nil:
		return nil, fmt.Errorf("vaultkek: %s needs a source of tokens, such as TokenFile", what)
	case !plain(mount, "/"):
		return nil, fmt.Errorf("vaultkek: %s: the mount must be of a-z, A-Z, 0-9, \"-\", \"_\" and \"/\"", what)
	}
	return &workload{role, token, login}, nil
}

// Login implements [api.AuthMethod].
func (w *workload) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	jwt, err := w.token(ctx)
	if err == nil && jwt == "" {
		err = errors.New("the source has none")
	}
	if err != nil {
		return nil, &credentialError{fmt.Errorf("get the token for role %s: %w", w.role, err)}
	}
	return w.login(ctx, client, jwt)
}

// credentialError means that there was nothing to log in with, and Vault was not asked.
type credentialError struct{ error }

func (e *credentialError) Unwrap() error { return e.error }
