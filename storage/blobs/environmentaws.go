package blobs

import (
	"bufio"
	"io"
	"os"
	"os/user"
	"strings"
)

// awsSettings are what is set in AWS's configuration files, whichever profile or section it is of
// (https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html).
type awsSettings []awsSetting

// awsSetting is one; outer is the setting without a value of its own that it stands below, such as a service, or "".
type awsSetting struct{ outer, key, value string }

func (s awsSettings) has(key string) bool {
	for _, set := range s {
		if set.key == key && set.value != "" {
			return true
		}
	}
	return false
}

// userHome is where the SDKs look for files: they know where a user's home is without HOME, too, as in a service.
func userHome() string {
	dir, _ := os.UserHomeDir()
	if dir == "" {
		if u, err := user.Current(); err == nil {
			dir = u.HomeDir
		}
	}
	return dir
}

// read appends what a file has. It takes lines for what the SDK takes them for, which is more than the format's description says: a colon
// assigns, too; comments and what it does not understand it passes over; and what is indented below a setting that has a value is a
// setting of the section's.
func (s awsSettings) read(f io.Reader) (awsSettings, error) {
	last := awsSetting{value: "none"} // that is not indented, or stands as if it were not
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
			continue
		case trimmed[0] == '[':
			last = awsSetting{value: "none"}
			continue
		}
		at := strings.IndexAny(trimmed, "=:")
		if at < 0 {
			continue
		}
		value, indented := trimmed[at+1:], line[0] == ' ' || line[0] == '\t'
		if indented { // where what looks like a comment alone is a value
			value = strings.TrimSpace(value)
		}
		set := awsSetting{key: strings.ToLower(strings.TrimSpace(trimmed[:at])), value: awsValue(value)}
		if indented && last.value == "" {
			set.outer = last.key
		} else {
			last = set
		}
		s = append(s, set)
	}
	return s, lines.Err()
}

// awsValue is a value without the comment behind it and the quotes around it.
func awsValue(s string) string {
	for _, comment := range []string{" #", " ;", "\t#", "\t;"} {
		s, _, _ = strings.Cut(s, comment)
	}
	s = strings.TrimSpace(s)
	for _, quote := range []string{`"`, "'"} {
		if len(s) > 1 && strings.HasPrefix(s, quote) && strings.HasSuffix(s, quote) {
			return s[1 : len(s)-1]
		}
	}
	return s
}
