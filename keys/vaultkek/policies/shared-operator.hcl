# Make the one key that all tenants share, inspect and rotate it, and take its older versions out of use. The parameters are all
# that these need: nobody can make the key exportable, back it up, import one that is known elsewhere, or delete it.
path "transit/keys/strongroom" {
  capabilities       = ["create", "read", "update"]
  allowed_parameters = {
    "type"    = ["aes256-gcm96"]
    "derived" = [true]
  }
}
path "transit/keys/strongroom/rotate" {
  capabilities = ["update"]
}
path "transit/keys/strongroom/config" {
  capabilities       = ["update"]
  allowed_parameters = {
    "min_decryption_version" = []
    "min_encryption_version" = []
  }
}
# Destroy the older versions for good, once nothing needs them: keyctl kek destroy.
path "transit/keys/strongroom/trim" {
  capabilities       = ["update"]
  allowed_parameters = {
    "min_available_version" = []
  }
}
# "update" alone: with "create", encrypting would make a key that is not there.
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
# Ask what this token may do, and nothing about others: keyctl doctor.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
