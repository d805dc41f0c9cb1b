# Sign an audit log's checkpoints. Whoever may sign can make a log that looks genuine: give this to the process that writes
# the log alone, and keep its tree heads with a witness.
path "transit/keys/audit" {
  capabilities = ["read"]
}
path "transit/sign/audit" {
  capabilities       = ["update"]
  allowed_parameters = {
    "input"       = []
    "key_version" = []
  }
}
# Keep the login alive.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
