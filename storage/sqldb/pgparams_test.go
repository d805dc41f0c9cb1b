package sqldb

import (
	"net/url"
	"strings"
	"testing"
)

func paramsOf(t *testing.T, query string) (map[string]string, error) {
	t.Helper()
	p, err := openPostgres("postgres://u:s3cr3t@127.0.0.1/d?"+query, (*Options)(nil).withDefaults())
	if err != nil {
		return nil, err
	}
	return p.config.RuntimeParams, nil
}

// TestWeakeningParametersAreRefusedInAnyCase: PostgreSQL compares the names of parameters without regard to case.
func TestWeakeningParametersAreRefusedInAnyCase(t *testing.T) {
	for _, name := range append([]string{"strongroom.tenant", "strongroom.anything", "user_parameter_of_the_future"}, weakeningParams...) {
		for _, spelled := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], strings.ReplaceAll(name, "s", "S")} {
			if _, err := paramsOf(t, url.QueryEscape(spelled)+"=off"); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", spelled, err)
			}
		}
	}
	for _, path := range []string{"evil,pg_catalog", `evil, "pg_catalog"`, "public , PG_CATALOG"} {
		for _, name := range []string{"search_path", "Search_Path"} {
			if _, err := paramsOf(t, name+"="+url.PathEscape(path)); err == nil || !strings.Contains(err.Error(), "pg_catalog") {
				t.Errorf("%s = %s: %v", name, path, err)
			}
		}
	}
	if _, err := paramsOf(t, "Work_Mem=1MB&work_mem=2MB"); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("twice: %v", err)
	}
}

// TestTheGuardsOwnParametersCannotBeOverridden: of two spellings of one parameter the server takes the later.
func TestTheGuardsOwnParametersCannotBeOverridden(t *testing.T) {
	params, err := paramsOf(t, "Standard_Conforming_Strings=off&CLIENT_ENCODING=SJIS&Application_Name=clinic")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"standard_conforming_strings": "on", "client_encoding": "UTF8", "application_name": "clinic"}
	for name, value := range params {
		if want[name] != value {
			t.Errorf("%s = %q is sent", name, value)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not sent", name)
	}
}

func TestOrdinaryParametersPass(t *testing.T) {
	for _, query := range []string{
		"application_name=x", "statement_timeout=5000", "TimeZone=UTC", "DateStyle=ISO", "search_path=public", "search_path=pg_catalog,public",
		"lock_timeout=1s", "idle_in_transaction_session_timeout=60000", "plan_cache_mode=force_custom_plan", "jit=off", "enable_seqscan=off",
		"default_transaction_isolation=serializable", "default_transaction_read_only=on", "work_mem=64MB", "clinic.user=17",
		"tcp_keepalives_idle=30", "extra_float_digits=3", "IntervalStyle=iso_8601",
	} {
		params, err := paramsOf(t, query)
		if err != nil || len(params) < 3 {
			t.Errorf("%s: %v, %v", query, params, err)
		}
	}
}
