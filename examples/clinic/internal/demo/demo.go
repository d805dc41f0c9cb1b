// Package demo is what is invented here: two clinics, who works there, and whom they look after.
package demo

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gocloud.dev/blob"

	"github.com/strongroom-go/strongroom/examples/clinic/internal/records"
	"github.com/strongroom-go/strongroom/examples/clinic/internal/session"
	"github.com/strongroom-go/strongroom/tenant"
)

// Clinic is a tenant.
type Clinic struct {
	ID    tenant.ID
	Title string
}

// Clinics are the tenants.
var Clinics = []Clinic{{tenant.MustParse("harbor"), "Harbor Clinic"}, {tenant.MustParse("hillside"), "Hillside Practice"}}

// People are who can be signed in, at either clinic. What for is in their tokens.
var People = []session.Person{
	{User: "dr.adams", Name: "Dr. Adams", Purpose: "treatment"},
	{User: "m.bell", Name: "M. Bell, accounts", Purpose: "billing"},
}

type invented struct {
	name, born, insurer, notes, ward, finding, scan string
}

var patients = map[string][]invented{
	"harbor": {
		{"Ada Byrne", "1947-11-03", "Meridian", "Allergic to penicillin.", "cardiology", "Sinus rhythm, no ischaemia. Follow-up in six months.", "Left knee, lateral"},
		{"Tomas Ferreira", "1981-02-17", "Northwind", "Type 1 diabetes since 1994.", "ophthalmology", "Mild retinopathy, unchanged.", ""},
		{"Ingrid Solheim", "1990-07-29", "Meridian", "Prefers Norwegian.", "orthopaedics", "Stress fracture, second metatarsal.", "Right knee, frontal"},
		{"Kofi Mensah", "1963-05-11", "Harbour Mutual", "Takes warfarin.", "cardiology", "Atrial fibrillation, rate controlled.", ""},
	},
	"hillside": {
		{"Ada Byrne", "1988-01-22", "Northwind", "A namesake of a patient elsewhere.", "dermatology", "Benign naevus, left shoulder.", "Left knee, frontal"},
		{"Yuki Tanaka", "1975-09-02", "Meridian", "Pacemaker since 2019.", "cardiology", "Device check: battery 7 years.", ""},
		{"Samuel Okoro", "2001-12-14", "Hillside Fund", "Asthma, seasonal.", "pulmonology", "Peak flow 540 l/min.", "Left knee, after surgery"},
	},
}

// Referred returns the id of the patient of a clinic's to whom a link was sent to the other one.
func Referred(clinic string) string { return idOf(clinic, patients[clinic][0].name) }

// idOf is the same each time, so that a demonstration that is begun anew has the same links.
func idOf(clinic, name string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://clinic.example.com/"+clinic+"/"+name)).String()
}

// Seed gives each clinic that has no patients the invented ones.
func Seed(ctx context.Context, store records.Store, scans *blob.Bucket) error {
	for i, clinic := range Clinics {
		ctx := tenant.NewContext(ctx, tenant.Access{Tenant: clinic.ID, Actor: "seed", Purpose: "demonstration", Request: uuid.NewString()})
		have, err := store.Recent(ctx)
		if err != nil {
			return err
		}
		if len(have) > 0 {
			continue
		}
		for j, p := range patients[clinic.ID.String()] {
			if err := admit(ctx, store, scans, idOf(clinic.ID.String(), p.name), p, time.Now().Add(-time.Duration(26*j+11)*time.Hour), int64(10*i+j)); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
		}
	}
	return nil
}

func admit(ctx context.Context, store records.Store, scans *blob.Bucket, id string, p invented, at time.Time, look int64) error {
	patient := records.Patient{ID: id, Name: p.name, Born: p.born, Insurer: p.insurer, Notes: p.notes, Admitted: at}
	if err := store.Admit(ctx, patient, records.Visit{ID: uuid.NewString(), Day: at, Ward: p.ward, Finding: p.finding}); err != nil {
		return err
	}
	if p.scan == "" {
		return nil
	}
	scan := records.Scan{ID: uuid.NewString(), Patient: patient.ID, ContentType: "image/png", Title: p.scan, Taken: at}
	if err := scans.Upload(ctx, scan.Key(), bytes.NewReader(Picture(look)), &blob.WriterOptions{ContentType: scan.ContentType}); err != nil {
		return err
	}
	return store.AddScan(ctx, scan)
}
