package envelope

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/strongroom-go/strongroom/tenant"
)

// State is the state of a tenant's keys in a [Record].
type State byte

// The states.
const (
	StateActive    State = 1
	StateSuspended State = 2
	StateShredded  State = 3
)

// recordMagic begins every record; the format's version follows.
const recordMagic = "SRK"

// Format is the version of a record.
type Format byte

// The formats. They differ in the associated data of the keysets alone.
const (
	// Separate keysets are bound to their purpose only: what stands beside them can be taken away.
	Separate Format = 1
	// Bound keysets are bound to the purposes of all keysets in the record as well, so that none can be taken away or
	// added, and none be exchanged for one of a [Separate] record.
	Bound Format = 2
)

// What is added to the version of a record that has counts, of a shredded one that tells what was destroyed, and of one that tells
// of keys that were not as well.
const (
	counted    = 2
	remembered = 4
	survived   = 8
)

// MaxRecordSize is the longest record, in bytes.
const MaxRecordSize = 64<<10 - 1

// maxKeysets, MaxCounts, MaxDestroyed and MaxShared bound what a record may make a reader allocate.
const (
	maxKeysets   = 32
	MaxCounts    = 64
	MaxDestroyed = 1024
	MaxShared    = 16
)

// Record is what a keyring keeps in its store for one tenant. Nothing in it is secret; all but State is
// authenticated by the ciphertexts it holds.
type Record struct {
	Format      Format
	Tenant      tenant.ID
	Keyring     string // the keyring's label
	State       State
	RootVersion uint32   // 0 when shredded
	WrappedRoot []byte   // what the KEK returned; empty when shredded
	Keysets     []Keyset // by ascending purpose; empty when shredded
	Counts      []Count  // by ascending key; empty when shredded

	// Of a shredded record. None is authenticated: no key is left that could.
	ShreddedAt int64       // in milliseconds since 1970; 0 where the record does not tell what was destroyed
	Destroyed  []Destroyed // by ascending purpose, and ascending key in it
	Shared     []Shared    // by ascending name; empty where the record does not tell when
}

// Shared is a key-encryption key that was not destroyed when a tenant was shredded, because it is other tenants' too.
type Shared struct {
	Name    string
	Version uint32 // the newest then, above 0
}

// Destroyed is a key of a tenant that was shredded.
type Destroyed struct {
	Purpose string
	Key     uint32
}

func (d Destroyed) compare(other Destroyed) int {
	return cmp.Or(cmp.Compare(d.Purpose, other.Purpose), cmp.Compare(d.Key, other.Key))
}

// Entomb makes the record a shredded one that tells which keys there were.
func (r *Record) Entomb(at int64, destroyed []Destroyed) {
	*r = Record{Format: r.Format, Tenant: r.Tenant, Keyring: r.Keyring, State: StateShredded, ShreddedAt: at}
	destroyed = slices.Clone(destroyed)
	slices.SortFunc(destroyed, Destroyed.compare)
	destroyed = slices.Compact(destroyed)
	r.Destroyed = destroyed[:min(len(destroyed), MaxDestroyed)]
}

// Count is how often a key may have sealed: what processes have reserved of it. It is not authenticated.
type Count struct {
	Key   uint32
	Seals uint64 // above 0
}

// Add adds to a key's count, which it returns.
func (r *Record) Add(key uint32, seals uint64) (sum uint64) {
	i, ok := slices.BinarySearchFunc(r.Counts, key, func(c Count, key uint32) int { return cmp.Compare(c.Key, key) })
	r.Counts = slices.Clone(r.Counts) // other copies of the record keep theirs
	if !ok {
		r.Counts = slices.Insert(r.Counts, i, Count{Key: key})
	}
	r.Counts[i].Seals += seals
	return r.Counts[i].Seals
}

// Seals returns a key's count.
func (r *Record) Seals(key uint32) uint64 {
	for _, c := range r.Counts {
		if c.Key == key {
			return c.Seals
		}
	}
	return 0
}

// Keyset is one purpose's Tink EncryptedKeyset (binary serialization) under the root keyset, with [Record.KeysetAD].
type Keyset struct {
	Purpose   string
	Encrypted []byte
}

// KeysetAD appends the associated data of the record's keyset of a purpose.
func (r *Record) KeysetAD(dst []byte, purpose string) []byte {
	dst = KeysetAD(slices.Grow(dst, 192), r.Tenant, purpose)
	if r.Format == Bound {
		for _, k := range r.Keysets {
			dst = component(dst, k.Purpose)
		}
	}
	return dst
}

// AppendRecord appends the record: "SRK", the version, the tenant, the keyring's label, the state, the root's version,
// the wrapped root, the number of keysets as a big-endian uint32, and for each its purpose and bytes. If there are counts
// the version is higher by two, and their number and each one's key and count follow. If a shredded record tells what was
// destroyed the version is higher by four, and the time follows, the number of keys, and each one's purpose and key. If it tells
// of keys that were not the version is higher by eight more, and their number follows, and each one's name and version.
func AppendRecord(dst []byte, r *Record) []byte {
	version := byte(r.Format)
	if len(r.Counts) > 0 {
		version += counted
	}
	if r.ShreddedAt > 0 {
		version += remembered
		if len(r.Shared) > 0 {
			version += survived
		}
	}
	dst = append(append(dst, recordMagic...), version)
	dst = component(component(dst, r.Tenant.String()), r.Keyring)
	dst = append(dst, byte(r.State))
	dst = binary.BigEndian.AppendUint32(dst, r.RootVersion)
	dst = component(dst, string(r.WrappedRoot))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Keysets)))
	for _, k := range r.Keysets {
		dst = component(component(dst, k.Purpose), string(k.Encrypted))
	}
	if len(r.Counts) > 0 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Counts)))
	}
	for _, c := range r.Counts {
		dst = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, c.Key), c.Seals)
	}
	if r.ShreddedAt > 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.ShreddedAt))
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Destroyed)))
		for _, d := range r.Destroyed {
			dst = binary.BigEndian.AppendUint32(component(dst, d.Purpose), d.Key)
		}
		if len(r.Shared) > 0 {
			dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Shared)))
		}
		for _, k := range r.Shared {
			dst = binary.BigEndian.AppendUint32(component(dst, k.Name), k.Version)
		}
	}
	return dst
}

// ParseRecord is the inverse of [AppendRecord]. It accepts exactly what AppendRecord writes for a consistent record;
// the byte slices share memory with b. The error wraps [ErrMalformed].
func ParseRecord(b []byte) (*Record, error) {
	if len(b) > MaxRecordSize {
		return nil, fmt.Errorf("%w: a record of %d bytes is over the limit of %d", ErrMalformed, len(b), MaxRecordSize)
	}
	r := newReader(b)
	magic, format := string(r.take(len(recordMagic))), Format(r.byte())
	survivors := format > Bound+remembered
	if survivors {
		format -= survived
	}
	remembers := format > Bound+counted
	if remembers {
		format -= remembered
	}
	hasCounts := format > Bound
	if hasCounts {
		format -= counted
	}
	if magic != recordMagic || format != Separate && format != Bound || remembers && hasCounts || survivors && !remembers {
		return nil, fmt.Errorf("%w: not a key record of version %d to %d", ErrMalformed, Separate, Bound+remembered+survived)
	}
	id, err := tenant.Parse(string(r.component()))
	rec := &Record{Format: format, Tenant: id, Keyring: string(r.component()), State: State(r.byte()), RootVersion: r.uint32(), WrappedRoot: r.component()}
	n := r.uint32()
	if !r.ok || err != nil || n > maxKeysets {
		return nil, fmt.Errorf("%w: a key record that is cut short or has an unusable part", ErrMalformed)
	}
	rec.Keysets = make([]Keyset, n)
	for i := range rec.Keysets {
		rec.Keysets[i] = Keyset{Purpose: string(r.component()), Encrypted: r.component()}
		if i > 0 && rec.Keysets[i-1].Purpose >= rec.Keysets[i].Purpose {
			return nil, fmt.Errorf("%w: a key record whose keysets are not in ascending order", ErrMalformed)
		}
	}
	if hasCounts && !rec.readCounts(r) {
		return nil, fmt.Errorf("%w: a key record whose counts are cut short or not in ascending order", ErrMalformed)
	}
	if remembers && !rec.readDestroyed(r) {
		return nil, fmt.Errorf("%w: a shredded key record whose list of keys is cut short or not in ascending order", ErrMalformed)
	}
	if survivors && !rec.readShared(r) {
		return nil, fmt.Errorf("%w: a shredded key record whose list of shared keys is cut short or not in ascending order", ErrMalformed)
	}
	if !r.done() || !rec.consistent() {
		return nil, fmt.Errorf("%w: a key record that is cut short, too long or contradicts itself", ErrMalformed)
	}
	return rec, nil
}

func (r *Record) readCounts(from *reader) bool {
	n := from.uint32()
	if !from.ok || n == 0 || n > MaxCounts {
		return false
	}
	r.Counts = make([]Count, n)
	for i := range r.Counts {
		c := Count{from.uint32(), from.uint64()}
		if c.Seals == 0 || i > 0 && r.Counts[i-1].Key >= c.Key {
			return false
		}
		r.Counts[i] = c
	}
	return from.ok
}

func (r *Record) readDestroyed(from *reader) bool {
	at, n := from.uint64(), from.uint32()
	if !from.ok || at == 0 || at > math.MaxInt64 || n > MaxDestroyed {
		return false
	}
	r.ShreddedAt = int64(at)
	for range n {
		d := Destroyed{string(from.component()), from.uint32()}
		if !from.ok || len(r.Destroyed) > 0 && r.Destroyed[len(r.Destroyed)-1].compare(d) >= 0 {
			return false
		}
		r.Destroyed = append(r.Destroyed, d)
	}
	return true
}

func (r *Record) readShared(from *reader) bool {
	n := from.uint32()
	if !from.ok || n == 0 || n > MaxShared {
		return false
	}
	for range n {
		k := Shared{string(from.component()), from.uint32()}
		if !from.ok || k.Version == 0 || len(r.Shared) > 0 && r.Shared[len(r.Shared)-1].Name >= k.Name {
			return false
		}
		r.Shared = append(r.Shared, k)
	}
	return true
}

func (r *Record) consistent() bool {
	switch r.State {
	case StateActive, StateSuspended:
		return r.ShreddedAt == 0 && r.RootVersion > 0 && len(r.WrappedRoot) > 0 && len(r.Keysets) > 0
	case StateShredded:
		return r.RootVersion == 0 && len(r.WrappedRoot) == 0 && len(r.Keysets) == 0 && len(r.Counts) == 0
	default:
		return false
	}
}
