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
# Ask what this token may do, and nothing about others: keyctl doctor.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
