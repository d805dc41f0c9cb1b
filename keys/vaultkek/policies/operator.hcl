# Make, inspect, rotate and destroy the tenants' keys. The parameters are all that these need: without others nobody can
# make a key exportable, import one that is known elsewhere, or take the older versions away.
path "transit/keys/strongroom-*" {
  capabilities       = ["create", "read", "update", "delete"]
  allowed_parameters = {
    "type"             = ["aes256-gcm96"]
    "derived"          = [false]
    "deletion_allowed" = [true]
  }
}
# "update" alone: with "create", encrypting would make keys that are not there.
path "transit/encrypt/strongroom-*" {
  capabilities = ["update"]
}
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
# Ask what this token may do, and nothing about others: keyctl doctor.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
