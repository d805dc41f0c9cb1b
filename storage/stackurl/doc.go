// Package stackurl opens a [stack.Stack] by a URL: one string that says where a service's trail, keys, databases and buckets are, for an
// environment variable or a flag. What a service is remains Go: its schema, its authorizer, options, and the names by which it knows its
// databases and buckets, all in the [stack.Config] that [Open] takes beside the URL.
//
//	strongroom:///var/lib/clinic
//
// is the embedded default: the trail, the keys, the key-encryption keys, SQLite databases and buckets of files, all in the directory
// (see [stack.Config].Dir). A relative one is strongroom://./clinic, as with gocloud.dev's file buckets. A parameter names what is elsewhere:
//
//	strongroom:///var/lib/clinic
//		?kek=vault://vault.example.com:8200/transit&kek.auth=kubernetes&kek.role=clinic
//		&keys=postgres://keys@db.example.com/keys?sslmode=verify-full
//		&db.clinic=postgres://app@db.example.com/clinic?sslmode=verify-full
//		&bucket.scans=s3://scans?region=eu-central-1
//
// in one line. The trail stays in the directory.
//
//	kek                  vault://HOST:PORT/MOUNT  Transit in Vault, over HTTPS; MOUNT is transit by default
//	                     vault-http://…           the same without TLS, on loopback alone
//	                     file:///PATH             a file, apart from the directory
//	kek.auth             how to log in to Vault: approle, kubernetes, jwt or token; required
//	kek.auth_mount       where that method is mounted; default its name
//	kek.role             of kubernetes and jwt
//	kek.role_id_file, kek.secret_id_file          of approle
//	kek.token_file       of jwt and token, and of kubernetes, where it has a default
//	kek.namespace, kek.prefix, kek.ca_file, kek.cert_file, kek.key_file    as in [vaultkek.Options]
//	kek.shared_key       the name of one key that all tenants share, in place of kek.prefix: see [vaultkek.OpenShared]
//	kek.passphrase_file  for a file: see [localkek.Options]
//	keys                 postgres://…  the table of wrapped keys: see [sqlstore.Open]
//	                     file:///PATH  a directory
//	keys.table           the table's name, as in [sqlstore.Options]
//	keys.listen          no: changes that others make, such as a suspension, are not listened for, which takes a connection; default yes.
//	                     Through a pooler that gives a client another connection for each transaction nothing is heard: write no
//	db.NAME              the URL of the database that the Config calls NAME: see [sqldb.Open]
//	bucket.NAME          the URL of the bucket that the Config calls NAME: see [blobs.Open]; the program imports its driver
//
// A bucket's label is its name, unless its options have another, wherever the URL says that it is: see [blobs.Options].
//
// # Writing one
//
// Values are percent-encoded as in every URL's query. ":", "/", "?", "=" and "@" may stand as they are; "&" is written %26, "+" %2B, "#" %23
// and "%" itself %25, the latter also where it begins the value's own escape. [net/url.Values] does all of it.
//
// # What is refused
//
// A parameter that is not known, is given twice, is empty, or is not for the kind of thing that another one names; and a place that the
// Config has too. All problems are in one error. Opening reads no environment variable, but the drivers of databases and buckets do:
// pgx those that begin with PG, and the cloud's SDK its credentials.
//
// URLs get into logs, process lists and crash reports, so none holds a secret: a password or a token in one is refused, and no error
// repeats a value. Give PostgreSQL's password in a file (passfile=PATH in its URL, or PGPASSFILE) or use a client certificate;
// give Vault's credentials in files, regular ones of at most 64 KiB; let S3's SDK find its own.
package stackurl
