# See the key that all tenants share, its kind and versions. Nothing is opened or changed.
path "transit/keys/strongroom" {
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
