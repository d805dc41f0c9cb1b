package vaultkek

import "context"

// Examine is [KEK.Examine], against [SharedPolicy].
func (s *Shared) Examine(ctx context.Context) (*Examination, error) {
	m, other := s.vault.opts.Mount, "other-"+examined
	keyPath := s.path("keys")
	return s.vault.examine(ctx, &demands{
		wanted: map[string][]string{
			keyPath: {"create", "read", "update"}, keyPath + "/config": {"update"}, keyPath + "/rotate": {"update"}, keyPath + "/trim": {"update"},
			s.path("encrypt"): {"update"}, s.path("decrypt"): {"update"}, s.path("rewrap"): {"update"},
			"auth/token/lookup-self": {"read"}, "auth/token/renew-self": {"update"},
		},
		unwanted: []string{
			s.path("export/encryption-key"), s.path("backup"), s.path("restore"), s.path("byok-export") + "/" + s.key, s.path("datakey/plaintext"),
			m + "/keys/" + other, m + "/decrypt/" + other, m + "/config/keys", m + "/cache-config",
			"sys/mounts/" + m, "sys/policies/acl/" + examined, "sys/auth/" + examined, "sys/raw/" + examined, "auth/token/create",
		},
		never: map[string][]string{s.path("encrypt"): {"create"}, keyPath: {"delete"}},
	})
}
