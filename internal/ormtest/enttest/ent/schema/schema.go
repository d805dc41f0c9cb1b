// Package schema declares the clinic to ent: sealed columns with ordinary Go types, and neither the tenant column nor
// the blind indexes.
package schema

import (
	"encoding/json"
	"time"

	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"github.com/google/uuid"
)

// Patient has a sealed, searchable name and ssn, and a sealed day of birth.
type Patient struct{ ent.Schema }

// Fields implements ent.Interface.
func (Patient) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id"),
		field.String("name"),
		field.String("ssn").Optional().Nillable().Unique(),
		field.Time("born").Optional().Nillable(),
		field.String("ward").Default("entry"),
		field.Time("updated_at").Optional().UpdateDefault(time.Now),
	}
}

// Edges implements ent.Interface.
func (Patient) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("visits", Visit.Type),
		edge.To("tags", Tag.Type).StorageKey(edge.Table("patient_tags"), edge.Columns("patient_id", "tag_id")),
	}
}

// Visit has a sealed note and cost.
type Visit struct{ ent.Schema }

// Fields implements ent.Interface.
func (Visit) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id"),
		field.Int64("patient_id"),
		field.String("room").Default(""),
		field.String("note").Optional().Nillable(),
		field.String("cost").Optional().Nillable(),
	}
}

// Edges implements ent.Interface.
func (Visit) Edges() []ent.Edge {
	return []ent.Edge{edge.From("patient", Patient.Type).Ref("visits").Field("patient_id").Unique().Required()}
}

// Tag has nothing sealed.
type Tag struct{ ent.Schema }

// Fields implements ent.Interface.
func (Tag) Fields() []ent.Field {
	return []ent.Field{field.Int64("id"), field.String("label").Unique()}
}

// Edges implements ent.Interface.
func (Tag) Edges() []ent.Edge {
	return []ent.Edge{edge.From("patients", Patient.Type).Ref("tags")}
}

// Result has a sealed column of every logical type.
type Result struct{ ent.Schema }

// Fields implements ent.Interface.
func (Result) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id"),
		field.Bytes("scan"),
		field.Int64("count"),
		field.Float("level"),
		field.Bool("urgent"),
		field.Time("at"),
		field.Time("day"),
		field.String("amount"),
		field.JSON("doc", json.RawMessage{}),
		field.UUID("ref", uuid.UUID{}),
	}
}

// Annotations implements ent.Interface.
func (Result) Annotations() []schema.Annotation {
	return []schema.Annotation{entsql.Table("results")}
}
