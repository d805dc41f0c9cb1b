# Open tenants, and bring wrapped keysets to the newest version of their key.
path "transit/decrypt/strongroom-*" {
  capabilities = ["update"]
}
path "transit/rewrap/strongroom-*" {
  capabilities = ["update"]
}
# Keep the login alive.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
