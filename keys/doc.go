// Package keys holds the tenants' keys.
//
// Each tenant has a key-encryption key (KEK) of its own, which never leaves its provider ([KEK]: Vault Transit or a
// local file); or very many small tenants share one, from which theirs are derived ([SharedKEK]). It wraps the tenant's root keyset, and the root keyset encrypts one Tink keyset per purpose: sealed
// columns, blind indexes, objects, their names, and the personal parts of the audit trail. Wrapped and encrypted keysets live in
// a [Store]. One KEK call opens a cold tenant; a [Keyring] keeps opened tenants in a bounded cache.
//
// What a keyring promises, and what it costs:
//
//   - A suspension by any process takes effect in every process within [Options.SuspendWithin]: a cached tenant is
//     served only that long after the store was last asked, and confirmed its state; that is one store read. The time
//     counts from before the question, and an answer that is older than what is known by then is asked for again.
//     Where the store tells of changes ([Watcher]) it is mostly seen at once; the bound does not depend on it.
//   - The store and the KEK provider are asked apart: while the provider is away, hot tenants go on until
//     [Options.ReopenAfter].
//   - Tenants in use are confirmed together where the store is a [BatchStore]: what it is asked hardly grows with their number.
//     They are opened together where the KEK provider is a [BatchKEK]. [Keyring.Warm] opens tenants before they are asked for.
//   - A failure is remembered for a second; nobody is refused for it after that. With [ServeStale] keys are served past
//     their confirmation only where a question that was asked within the bound had no answer, or where questions that have none
//     for longer keep another from being asked. A question is given up within the bound that its answer has to keep, whatever
//     [Options.Timeout] is.
//   - While the KEK provider is away, requests for tenants that are not open push out none that are.
//   - Keys already handed out stay usable while they are held; an operation under way is not cut off.
//   - Keys are tied to their tenant three times over: by the KEK, by the identity inside the wrapped root keyset,
//     and by the associated data of each purpose keyset. A record or a wrapped root that is put in another tenant's
//     place is refused with [ErrIntegrity].
//   - Whoever can write to the store can deny service, and can undo a suspension by restoring an earlier record:
//     restrict writing to it. They cannot open anything with it, and cannot take a keyset out of a record or put one in:
//     each is bound to the list of all. They can put back the tenant's own keyset from before a rotation: what was sealed
//     since does not open then.
//   - A data key seals no more than is counted of it in the record, and is rotated long before it has sealed 2^32 values
//     ([Options.RotateAfterSeals]). So a process that seals writes to the store, now and then. Whoever can write there can
//     lower the count: after a record was put back from a backup, rotate. An audit key is rotated likewise, but what it seals is
//     counted a little later.
//   - A new key opens in every process before it seals in any ([Keyring.Rotate]), and an older one goes only after somebody has
//     counted that nothing needs it ([Keyring.DisableKey], [Keyring.DestroyKey]).
//
// Keys in memory are not hidden from code in the same process, and Go cannot promise to erase them.
package keys
