# See which tenants have keys, of which kind and versions. Nothing is opened or changed.
path "transit/keys" {
  capabilities = ["list"]
}
path "transit/keys/strongroom-*" {
  capabilities = ["read"]
}
# Keep the login alive.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
