# See that the key which all tenants share is what it should be.
path "transit/keys/strongroom" {
  capabilities = ["read"]
}
# Provision tenants; leave it out where another process does. "update" alone: with "create", encrypting would make a key that is
# not there.
path "transit/encrypt/strongroom" {
  capabilities = ["update"]
}
# Open tenants, and bring wrapped keysets to the newest version of the key.
path "transit/decrypt/strongroom" {
  capabilities = ["update"]
}
path "transit/rewrap/strongroom" {
  capabilities = ["update"]
}
# Keep the login alive.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
