// Package blobs keeps many tenants' objects apart in one bucket.
//
// [Open] and [Wrap] return a real *blob.Bucket of gocloud.dev: code that takes one works unchanged. Every call runs
// for the tenant in its context (see package tenant) and for no other; there is no unscoped call. Objects are sealed
// with the tenant's own keys, and no access happens before it is in the audit log.
//
// # What is protected
//
//   - Scope. No key, prefix or page token reaches another tenant's objects; keys are used exactly, nothing is cleaned,
//     folded or decoded. A foreign object and an absent one are both gcerrors.NotFound.
//   - Contents. AES-256-GCM in segments of 64 KiB. An object that was moved, renamed, swapped between tenants or buckets,
//     truncated, extended, reordered or changed in any bit is an error that wraps [storage.ErrIsolation] before any
//     byte of the segment concerned is returned, and an alert in the audit trail.
//   - Attributes: content type, metadata, cache headers and MD5 (there only where the writer knew it, as WriteAll does).
//   - Names, with [Options.SealNames]: see below.
//   - Durability. A writer that is not closed, is cancelled, or whose Upload source fails leaves no object. Close returns
//     when the store has the object and the audit log its outcome. On files a process that is killed leaves the object
//     that was there, whole; if it is killed between the renames of the two files that an object is, with the attributes
//     of the one that was to replace it. Processes that use one directory take turns at an object by locks (flock) in its
//     directory .strongroom: of two that write at once one's object is there, whole, and IfNotExist lets one through. A
//     file system that grants a lock twice, as some networks' do, keeps neither. Where somebody takes a lock's file away while it is
//     held, what was being done is not acknowledged.
//
// # What is not
//
//   - Without SealNames names stand in the store in the clear: do not put personal data in keys then. The number of
//     objects, their sizes, their times and who reads what when are visible always.
//   - An older version of an object, or of its attributes, that is put back under the same key is not detected; nor is a
//     deletion. Use the store's versioning and object lock against those.
//   - Size is what the store claims until the last segment has authenticated: content is whole when Read has returned
//     io.EOF, and not before. A listing shows the size -1 for what cannot be an object of this package.
//   - The store's signed URLs are refused with gcerrors.Unimplemented: they would hand out ciphertext past the audit
//     trail. [Options.Signer] makes SignedURL return URLs of a [Handler]. Bucket.As and the like are false, since a
//     client of the store leads around all of the above; ErrorAs works.
//   - On files, keys that the file system takes for one name: where it folds case or normalises Unicode, as those of macOS and Windows do
//     out of the box, of two such keys of a tenant the later write takes the other's place, and what is there opens as its own key alone.
//     Tenants are kept apart there too. Use a file system that compares names byte by byte, or SealNames.
//   - The inner bucket is yours: who holds it can delete and overwrite, though not read.
//
// # Sealed names
//
// Each path segment is sealed by itself, deterministically (AES256-SIV), bound to its tenant, bucket and directory, so
// that a listing with the delimiter "/" reads only the directory it asks for. That hides what a segment says, and shows
// whose it is, its length, which objects share a directory, and that an object which comes back is called as before.
// Listings are in the order of keys, which is not the store's: each page reads all names of its directory. Keep
// directories, or pages, in proportion.
//
// A tenant's names in a bucket are all of one kind: a bucket opened with SealNames where there are plain ones, or without
// where there are sealed ones, refuses with gcerrors.FailedPrecondition. [Import] moves one to the other, over another
// store or prefix. Tenants provisioned before there were sealed names need keys.Keyring.Provision once more. A
// name of the sealed form that was copied from elsewhere makes the listing that meets it fail with
// [storage.ErrIsolation] and an alert; what has not the form is nobody's object and left out. A deleted name that is put back
// in its place shows an object, which opens only if its content was put back as well.
//
// While a tenant has two names keys, after keys.Keyring.Rotate, objects are looked for under both, the newest first, until
// [Reseal] has moved them: a request more for what is under the older, and listings read twice. IfNotExist then needs
// [Options].IfMatch or SoleProcess, to take back what it wrote and that version alone. Who began to write before a
// rotation, and ends when the object was moved, is told to write it again.
//
// # Errors
//
// Errors keep their chain: errors.Is and errors.As work on what *blob.Bucket, Reader and Writer return. The codes:
//
//	gcerrors.NotFound            no such object of this tenant
//	gcerrors.PermissionDenied    tenant.ErrMissing, tenant.ErrInvalidAccess, tenant.ErrDenied, keys.ErrSuspended
//	gcerrors.FailedPrecondition  storage.ErrIsolation, keys.ErrNotProvisioned, keys.ErrShredded, keys.ErrKeyDisabled;
//	                             IfNotExist; names of the other kind; an object that was replaced while it was read
//	gcerrors.InvalidArgument     a key, delimiter, page token or attributes that cannot be used; attributes that are no UTF-8
//	gcerrors.Unimplemented       signed URLs without Options.Signer
//	gcerrors.Unknown             audit.ErrUnavailable and keys.ErrUnavailable, which may be retried; the store's own
//
// A writer reports what refuses it in Write or Close, never in NewWriter. A write, copy or deletion to which the store gave
// no clear answer has the status unknown in the audit trail: it may have taken place.
//
// # Beside the bucket
//
// A [Signer] issues tokens for one method on one object until they expire, and a [Handler] serves them over HTTP: guarded and
// recorded as any access is, in the name of who asked for the token, and void as soon as the tenant is suspended or
// the authorizer refuses the actor. [Reseal] moves objects to the newest keys while others read and write, and counts what
// is left per key; an object that needs a disabled key is keys.ErrKeyDisabled, one whose key was destroyed
// [storage.ErrIsolation], and both name the key. [Import] moves a plaintext bucket in, resumably, reads each object back, and deletes a source only if
// told to. Behind a session of your own, http.ServeContent takes a *blob.Reader: one that goes on somewhere else after a Seek
// reads the version that it began with, or gives gcerrors.FailedPrecondition where somebody replaced that.
//
// Opening an object takes two requests: its attributes, and the segments of the range. Reading and writing hold one or two
// segments in memory, beside what the store's driver buffers. A copy is opened and sealed again in this process.
//
// FORMAT.md, beside this file, specifies what is stored and lists all limits; names have at most [MaxKeyLength] bytes.
package blobs
