// Package offboard makes a tenant leave: it destroys the tenant's keys, deletes what is left of the tenant in databases and
// buckets, and writes a signed certificate of it that anybody can verify offline.
//
//	ctx = tenant.NewContext(ctx, tenant.Access{Tenant: id, Actor: "operator-7", Purpose: "offboarding"})
//	done, err := offboard.Run(ctx, id, &offboard.Plan{
//		Guard: guard, Databases: []*sql.DB{db}, Buckets: []offboard.Bucket{{Bucket: bucket}}, Signer: signer, Reason: "contract 4711 ended",
//	})
//	os.WriteFile("certificate.json", done.Envelope, 0o600)
//
// # The certificate
//
// It is JSON in a DSSE envelope (https://github.com/secure-systems-lab/dsse, version 1.0): what is signed is the payload's own
// bytes and its type, [PayloadType], so nothing has to be made canonical, and a signature of something else cannot pass for
// one of a certificate. Unlike in JWS (RFC 7515) no part of the envelope says which algorithm verifies it: that is the key's to
// say. The signature is Ed25519 by a Tink keyset of its own. It is not the audit log's signer, which lies beside the log on the
// host that writes it, and of which two uses would have to be told apart: a certificate is for parties that never see the log,
// and is signed by who answers for it. What [NewKeyset] makes signs without Tink's prefix, as RFC 8032 has it, so that any
// tool that knows Ed25519 verifies it.
//
// # What it says, and what it does not
//
// It says which keys were destroyed, how many rows and objects were deleted where, when, by whom and why. It is as true as the
// process that wrote it: it proves who says so and that nobody changed it since. It cannot tell of databases, buckets and
// backups that nobody named in the [Plan]. What those hold sealed does not open without the keys; columns that are not sealed
// and names of objects are readable in them until they are deleted. A backup of the KEK provider brings the keys back together
// with a backup of the key store: it has to go as well.
//
// Where the key-encryption key is one that tenants share ([keys.SharedKEK]) it is not destroyed for one of them, and the
// certificate says so: it names the key and its versions. Until [keys.Keyring.DestroySharedKEK] has destroyed those, a backup of the
// key store from before opens, and the keys are as gone as the last such backup. Running the offboarding again afterwards
// gives a certificate that says that they are.
//
// The actor is personal data, and the tenant's own key for pseudonyms is gone. As in the audit trail's events about a
// tenant without keys, the actor is therefore a pseudonym under the log's own key ([audit.Log.Pseudonym]): who has that log can
// tell whether it was somebody, nobody else can. The reason stands in the clear: put no personal data in it.
package offboard
