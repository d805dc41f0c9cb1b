// Package blobs keeps many tenants' objects apart in one bucket.
//
// [Open] and [Wrap] return a real *blob.Bucket of gocloud.dev: code that takes one works unchanged. Every call runs
// for the tenant in its context (see package tenant) and for no other; there is no unscoped call. Objects are sealed
// with the tenant's own keys, and no access happens before it is in the audit log.
//
// # What is protected
//
//   - Scope. An object lives at the tenant's segment, a slash, and its key. Keys are used exactly: nothing is cleaned,
//     folded or decoded, and no key, prefix or page token reaches another tenant's objects. A foreign object and an
//     absent one are both gcerrors.NotFound.
//   - Contents. AES-256-GCM in segments of 64 KiB. What an attacker does to the store shows as an error that wraps
//     [storage.ErrIsolation] before any byte of the segment concerned is returned, and as an alert in the audit
//     trail: an object that was moved, renamed, swapped between tenants or buckets, truncated, extended, reordered or
//     changed in any bit.
//   - Attributes. Content type, metadata, cache headers and MD5 are sealed likewise. The store sees
//     application/octet-stream and one metadata entry. The MD5 is there only where the writer knew it beforehand, as
//     WriteAll does.
//   - Names, with [Options.SealNames]. Each path segment of a key is sealed by itself, deterministically (AES256-SIV), so that
//     directories stay directories and a listing with the delimiter "/" reads only the one it asks for. Names are bound to
//     their tenant, bucket and directory: see Sealed names below.
//   - Durability. A writer that is not closed, is cancelled, or whose Upload source fails leaves no object. Close returns
//     when the store has the object and the audit log its outcome.
//
// # What is not
//
//   - Without SealNames object names stand in the store in the clear: do not put personal data in keys then. The number
//     of objects, their sizes, their times and who reads what when are visible always.
//   - An older version of an object, or of its attributes, that is put back under the same key is not detected; nor is a
//     deletion. Use the store's versioning and object lock against those.
//   - Size in attributes, listings and readers is what the store claims until the last segment has authenticated, which
//     every read to the end does: content is whole when Read has returned io.EOF, and not before. A listing shows the
//     size -1 for what cannot be an object of this package.
//   - The store's signed URLs are refused with gcerrors.Unimplemented: they would hand out ciphertext past the audit
//     trail. A [Handler] serves and accepts objects for short-lived tokens of a [Signer], and [Options.Signer] makes
//     SignedURL return URLs of it. Behind a session of your own, http.ServeContent takes a *blob.Reader.
//   - Bucket.As and the like are false, since a client or a request of the store leads around all of the above. ErrorAs
//     works.
//   - The inner bucket is yours: who holds it can delete and overwrite, though not read.
//
// # Sealed names
//
// A sealed name hides what a segment says, and shows that it is there: whose it is, how many segments a key has, how long
// each is, which objects share a directory, and that an object which comes back is called as it was before. A segment
// in one directory looks nothing like the same one in another, or of another tenant or bucket. The key that seals names
// is not rotated: objects are looked up by it.
//
// Listings are in the order of keys, as everywhere in gocloud.dev, with any prefix and any delimiter. The store has another
// order, so each page reads all names of the directory that the prefix ends in (without the delimiter "/", of all
// below it too), and keeps those that come next: at most 10,000 in memory at a time, which is what a
// blob.ListIterator gets in one. Up to that a listing costs the store what it would cost anyway; one of n names in pages of p
// costs n/p times that. Keep directories, or pages, in proportion.
//
// Who can write to the store cannot make a name, and can copy, move and delete what is there. A name that has the form of
// a sealed one and belongs elsewhere (another directory, bucket or tenant, or the tenant's keys before an older key
// record was put back) makes the listing that meets it fail with [storage.ErrIsolation] and an alert; what has not the
// form, such as a console's placeholder for a folder, is nobody's object and left out. A name that was deleted can be put
// back, in its place, and then shows an object that opens only if its content was put back as well.
//
// A tenant's names in a bucket are all of one kind. A bucket that is opened with SealNames where there are plain ones,
// or without where there are sealed ones, refuses with gcerrors.FailedPrecondition, which it finds out by one or two
// listings for each tenant and names key in each process, before the first write or listing and where an object is not
// found. To seal
// the names of a bucket that has objects, [Import] it into one over another store or another prefix. Tenants that were
// provisioned before there were sealed names need keys.Keyring.Provision once more; until then the bucket refuses
// with keys.ErrNotProvisioned.
//
// # Errors
//
// Errors keep their chain: errors.Is and errors.As work on what *blob.Bucket, Reader and Writer return. The codes:
//
//	gcerrors.NotFound            no such object of this tenant
//	gcerrors.PermissionDenied    tenant.ErrMissing, tenant.ErrInvalidAccess, tenant.ErrDenied, keys.ErrSuspended
//	gcerrors.FailedPrecondition  storage.ErrIsolation, keys.ErrNotProvisioned, keys.ErrShredded; IfNotExist; names of
//	                             the other kind
//	gcerrors.InvalidArgument     a key, delimiter, page token or attributes that cannot be used
//	gcerrors.Unimplemented       signed URLs without Options.Signer
//	gcerrors.Unknown             audit.ErrUnavailable and keys.ErrUnavailable, which may be retried; the store's own
//
// A writer reports what refuses it in Write or Close, never in NewWriter. A write, copy or deletion to which the store gave
// no clear answer returns the store's error and has the status unknown in the audit trail: it may have taken place.
//
// # Limits
//
// An object's name in the store has at most [MaxKeyLength] bytes, the tenant's segment and marks for segments that are
// empty or begin with a dot included: what S3 and GCS take. Stores have their own limits below that: files 234 bytes for
// each path segment (255 are a file name's, and fileblob needs 21) and none that ends in ".attrs", Azure 1,024
// characters and 254 segments; gateways that keep objects as files refuse keys that end in a slash, and like all files
// cannot have both "a" and "a/b". Where a file system folds case, keys that differ in case overwrite each other within a
// tenant, and what was overwritten fails to open; tenants never do.
//
// A sealed name takes 35 bytes and 8/5 of its length for each segment, and eight for the whole, of the same 1,024: for a
// tenant "acme" a key of one segment has up to 609 bytes, one of four alike up to 543. On files and on gateways that keep
// objects as files a directory's segment has at most 137 bytes, and on files an object's 125. Otherwise sealed names have
// fewer limits than plain ones: letters and digits, in lower case, are all that the store sees, so case may be folded,
// keys may end in a slash or ".attrs", and "a" and "a/b" are two objects on every store.
//
// Sealed attributes have [Options.AttributesLimit] bytes. An object has at most 2^32-1 segments, 256 TiB. Delimiters
// cannot contain ".", "!", "~" or "//", where names are not sealed.
//
// # HTTP
//
// A token of [Signer.Sign], which issues none while the tenant's keys are away, stands for one access that the access in its context may make: one method, one object, until
// it expires. That it was issued is recorded, and what it opens is guarded and recorded as any access is, in the name of
// who asked for it, so that a suspended tenant's tokens stop working at once, and so do those of an actor whom the
// authorizer refuses. A handler keeps what it serves out of shared caches, and browsers from running it.
//
// # Moving in
//
// [Import] seals the objects of a plaintext bucket into a tenant's space, resumably, and verifies each by reading it
// back. It overwrites nothing of the application's, and deletes a source only if told to and after verification.
//
// # Cost
//
// Opening an object takes two requests: its attributes, and the segments of the range. Reading and writing hold one or two
// segments in memory, beside what the store's driver buffers. A copy is opened and sealed again in this process.
//
// # Format
//
// An object is "SRB", the version 1, the id of the tenant's streaming key as a big-endian uint32, and a ciphertext
// of Tink's AES256-GCM-HKDF streaming AEAD (HKDF-SHA256, 64 KiB segments) whose associated data is
// [github.com/strongroom-go/strongroom/internal/envelope.BlobAD] of the tenant, the bucket's label and the key. Its
// metadata entry "strongroom" is unpadded base64url of JSON under the tenant's data keyset (AES256-GCM with Tink's
// prefix) with the associated data BlobAttrsAD of the same. Names: a path segment that begins with a dot has "!" behind
// that dot, and an empty one before a slash is ".~"; sealed ones are below the segment ".sealed", each segment with its
// slash a ciphertext of Tink's AES256-SIV in base32hex.
package blobs
