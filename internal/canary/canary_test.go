package canary

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom-go/strongroom/audit"
)

func TestEveryFieldIsJudged(t *testing.T) {
	for _, wrong := range Unjudged() {
		t.Error(wrong)
	}
}

// TestFound: what is looked for is found, in every form, or no test that finds nothing would mean anything.
func TestFound(t *testing.T) {
	var e audit.Event
	Fill(&e)
	for form, data := range map[string]string{
		"as it is": e.Actor, "in upper case": strings.ToUpper(e.Actor), "hex": hex.EncodeToString([]byte(e.Actor)),
		"base64": base64.StdEncoding.EncodeToString([]byte(e.Actor)), "base64, shifted by one": base64.StdEncoding.EncodeToString([]byte("1" + e.Actor)),
		"base64, shifted by two": base64.URLEncoding.EncodeToString([]byte("12" + e.Actor)),
	} {
		if got := Found([]byte("before "+data+" behind"), Sealed); !slices.Equal(got, []string{"audit.Event.Actor"}) {
			t.Errorf("%s: %v", form, got)
		}
	}
	if got := Found([]byte(e.Details["key"]+e.Purpose), Sealed); !slices.Equal(got, []string{"audit.Event.Details"}) {
		t.Errorf("%v", got)
	}
	if got := Found([]byte(e.Purpose+e.Tables[1]), Clear); !slices.Equal(got, []string{"audit.Event.Purpose", "audit.Event.Tables"}) {
		t.Errorf("%v", got)
	}
}
