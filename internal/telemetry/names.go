package telemetry

// Metric is one of the library's instruments.
type Metric struct {
	Name        string
	Kind        string // counter, histogram or gauge
	Unit        string // of UCUM
	Attributes  []string
	Description string
}

// The names of the instruments. Two are the semantic conventions'; all others begin with "strongroom.".
const (
	StatementDuration = "db.client.operation.duration" // https://opentelemetry.io/docs/specs/semconv/db/database-metrics/
	ObjectDuration    = "strongroom.blob.operation.duration"
	Denials           = "strongroom.access.denials"
	Alerts            = "strongroom.access.alerts"
	PlanRequests      = "strongroom.plan_cache.requests"
	PlanEvictions     = "strongroom.plan_cache.evictions"
	PlanSize          = "strongroom.plan_cache.size"
	Barriers          = "strongroom.statement.barriers"
	KeyRequests       = "strongroom.key_cache.requests"
	KeyEvictions      = "strongroom.key_cache.evictions"
	KeySize           = "strongroom.key_cache.size"
	ConfirmationAge   = "strongroom.keys.confirmation.age"
	ConfirmationBound = "strongroom.keys.confirmation.bound"
	StaleUses         = "strongroom.keys.stale_uses"
	SealsReserved     = "strongroom.keys.seals.reserved"
	SealsHighest      = "strongroom.keys.seals.highest"
	KeyOperations     = "strongroom.keys.operations"
	KEKDuration       = "strongroom.kek.call.duration"
	StoreDuration     = "strongroom.key_store.call.duration"
	TrailWait         = "strongroom.audit.wait.duration"
	CommitDuration    = "strongroom.audit.commit.duration"
	Committed         = "strongroom.audit.events"
	QueueEvents       = "strongroom.audit.queue.events"
	QueueBytes        = "strongroom.audit.queue.size"
	QueueOldest       = "strongroom.audit.queue.oldest"
	TrailRefused      = "strongroom.audit.refused"
	TrailTimedOut     = "strongroom.audit.timed_out"
	TrailUp           = "strongroom.audit.up"
)

// The names of attributes that are not the semantic conventions'.
const (
	AttrReason      = "strongroom.reason"
	AttrStore       = "strongroom.store"
	AttrOperation   = "strongroom.operation"
	AttrResult      = "strongroom.result"
	AttrKeyring     = "strongroom.keyring"
	AttrTrail       = "strongroom.trail"
	AttrBucket      = "strongroom.bucket"
	AttrCorrelation = "strongroom.correlation"
	AttrTenant      = "strongroom.tenant"
	AttrRows        = "strongroom.rows"
	AttrBytes       = "strongroom.bytes"
	AttrUnknown     = "strongroom.outcome_unknown"
)

const (
	counter   = "counter"
	histogram = "histogram"
	gauge     = "gauge"
)

// Metrics returns every instrument of the library.
func Metrics() []Metric {
	return []Metric{
		{StatementDuration, histogram, "s", []string{"db.system.name", "db.namespace", "db.operation.name", "db.collection.name", "error.type"},
			"Duration of a guarded statement, from before it is planned until its result is closed, and of a batch of Reseal (RESEAL, QUERY) or Migrate (MIGRATE), from before it is admitted until its outcome is recorded."},
		{ObjectDuration, histogram, "s", []string{AttrOperation, AttrBucket, "error.type"},
			"Duration of a guarded operation on an object, from before it is admitted until its outcome is recorded."},
		{Denials, counter, "{access}", []string{AttrStore, AttrReason},
			"Accesses that were denied. Reasons that begin with \"refused: \" are of statements and operations that are not supported."},
		{Alerts, counter, "{alert}", []string{AttrStore},
			"Values that did not open where they were found, and statements that gave another tenant's id: none is normal."},
		{PlanRequests, counter, "{statement}", []string{"db.system.name", "db.namespace", AttrResult},
			"Plans that were asked for; the result is hit or miss."},
		{PlanEvictions, counter, "{plan}", []string{"db.system.name", "db.namespace"},
			"Plans that made room for others: with many of them, raise Options.PlanCacheSize or bind values as parameters."},
		{PlanSize, gauge, "{plan}", []string{"db.system.name", "db.namespace"},
			"Plans in the cache."},
		{Barriers, counter, "{barrier}", []string{"db.system.name", "db.namespace"},
			"Optimization barriers in the statements that were admitted: each keeps the database from some index or join order."},
		{KeyRequests, counter, "{request}", []string{AttrKeyring, AttrResult},
			"Tenants' keys that were asked for; a hit is served from the cache, a miss waits for the key store or the KEK provider."},
		{KeyEvictions, counter, "{tenant}", []string{AttrKeyring},
			"Tenants whose keys made room for others': with many of them, raise Options.CacheSize."},
		{KeySize, gauge, "{tenant}", []string{AttrKeyring},
			"Tenants in the cache of keys."},
		{ConfirmationAge, gauge, "s", []string{AttrKeyring},
			"The oldest confirmation of a tenant's state with which keys were handed out in the last one to two minutes; 0 for none."},
		{ConfirmationBound, gauge, "s", []string{AttrKeyring},
			"Options.SuspendWithin: how old a confirmation may be, and so the time within which a suspension takes effect."},
		{StaleUses, counter, "{use}", []string{AttrKeyring},
			"Uses of keys past their confirmation, which Options.WhenUnavailable admits."},
		{SealsReserved, counter, "{seal}", []string{AttrKeyring},
			"Seals with data keys that this process reserved in tenants' records."},
		{SealsHighest, gauge, "1", []string{AttrKeyring},
			"How near the most used data key is to Options.RotateAfterSeals, as of the tenants in the cache that this process seals for: 1 is when it is rotated."},
		{KeyOperations, counter, "{operation}", []string{AttrOperation, "error.type"},
			"Operations of keys' life cycle: rotations, suspensions and so on."},
		{KEKDuration, histogram, "s", []string{AttrKeyring, AttrOperation, "error.type"},
			"Duration of a call of the KEK provider."},
		{StoreDuration, histogram, "s", []string{AttrKeyring, AttrOperation, "error.type"},
			"Duration of a call of the key store."},
		{TrailWait, histogram, "s", []string{"error.type"},
			"How long an access waited for an event to be in the audit trail."},
		{CommitDuration, histogram, "s", []string{AttrTrail, "error.type"},
			"Duration of a commit of the audit trail: one write of all events that waited, until they are as durable as it promises."},
		{Committed, counter, "{event}", []string{AttrTrail},
			"Events that were committed to the audit trail."},
		{QueueEvents, gauge, "{event}", []string{AttrTrail},
			"Events that wait for the audit trail, those of the commit under way included."},
		{QueueBytes, gauge, "By", []string{AttrTrail},
			"Size of the events that wait for the audit trail."},
		{QueueOldest, gauge, "s", []string{AttrTrail},
			"How long the oldest event that waits for the audit trail has waited; 0 for none."},
		{TrailRefused, counter, "{event}", []string{AttrTrail},
			"Events that were refused because their tenant's share of the queue was full."},
		{TrailTimedOut, counter, "{event}", []string{AttrTrail},
			"Events that were given up after Options.Timeout; they may be in the trail."},
		{TrailUp, gauge, "{trail}", []string{AttrTrail},
			"1 while the audit trail records, 0 after it has failed."},
	}
}

func metricOf(name string) Metric {
	for _, m := range Metrics() {
		if m.Name == name {
			return m
		}
	}
	panic("telemetry: no metric " + name)
}

// SpanName is what a span is called.
type SpanName struct {
	Name        string
	Kind        string
	Description string
}

// The names of spans. A statement's is its operation and its table, where it has one, as the semantic conventions say.
const (
	spanBatch  = "BATCH"
	spanPlan   = "strongroom.plan"
	spanGate   = "strongroom.gate"
	spanSend   = "strongroom.send"
	spanKeys   = "strongroom.keys.open"
	spanKEK    = "strongroom.kek."
	spanStore  = "strongroom.key_store."
	spanCommit = "strongroom.audit.commit"
	spanObject = "strongroom." // and the event's code
)

// Spans returns the names of all spans; <…> stands for what varies.
func Spans() []SpanName {
	return []SpanName{
		{"<OPERATION> <table>", "client", "A guarded statement, from before it is planned until its result is closed. Without a table of its own, or with several: the operation; of a text that was not planned: the database's system."},
		{spanBatch, "client", "A batch of statements at the database. Each has a span of its own beside it."},
		{"BEGIN", "client", "The beginning of a transaction, at the database."},
		{"COMMIT", "client", "The end of a transaction, with what it waits for in the audit trail."},
		{"ROLLBACK", "client", "The end of a transaction."},
		{spanPlan, "internal", "A statement's text is planned; there is none where the plan was in the cache."},
		{spanGate, "internal", "The access is admitted: tenant, state, authorizer, keys and, for what cannot be taken back, the audit trail."},
		{spanSend, "internal", "A statement is at the database, until its first answer."},
		{spanKeys, "internal", "Keys or a state that was not at hand is waited for."},
		{"strongroom.kek.<call>", "client", "A call of the KEK provider: create, wrap, unwrap, rotate, rewrap, destroy."},
		{"strongroom.key_store.<call>", "client", "A call of the key store: get, put, delete, list."},
		{spanCommit, "internal", "An event is waited for until it is in the audit trail."},
		{"strongroom.<code>", "internal", "Another access than a statement, by the code of its event: strongroom.blob.read, strongroom.blob.write and so on, from its admission until its outcome is recorded."},
	}
}
