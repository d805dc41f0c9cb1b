package blobs

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// checkEnvironment refuses of the environment, and of AWS's configuration files, what checkURL refuses of a URL: gocloud.dev's openers
// take from there what the URL does not say, and some of it whatever the URL says. The library reads the environment here, to refuse,
// and for nothing else.
func checkEnvironment(u *url.URL) error {
	switch query := u.Query(); u.Scheme[strings.LastIndex(u.Scheme, "+")+1:] {
	case "s3":
		return checkAWS(query)
	case "azblob":
		return checkAzure(query)
	case "gs":
		// gcsblob puts "http://" before it.
		if name := "STORAGE_EMULATOR_HOST"; os.Getenv(name) != "" && !isLoopback(os.Getenv(name)) {
			return environmentError(name)
		}
	}
	return nil
}

func environmentError(source string) error {
	return fmt.Errorf("blobs: %s has the bucket's opener make a connection that is not encrypted and not on loopback; "+
		"change it, or set Options.InsecureAllowPlaintext if something else protects the connection", source)
}

// checkAWS judges the endpoint that the SDK would take as one in the URL is judged, which comes before all others
// (https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html).
func checkAWS(query url.Values) error {
	if !query.Has("endpoint") {
		if err := checkService("s3", query); err != nil {
			return err
		}
	}
	if query.Has("role") || os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" {
		return checkService("sts", url.Values{"use_path_style": {"true"}}) // which answers with credentials, and has no buckets
	}
	return nil
}

// checkService looks where the SDK does: at the variable for the service, that for all services, and the files. The SDK has a rule for
// when the last two count; here each that could is judged.
func checkService(service string, query url.Values) error {
	judge := func(source, endpoint string) error {
		query.Set("endpoint", endpoint)
		if plaintext(query) != "" || besideLocalhost(query) {
			return environmentError(source)
		}
		return nil
	}
	own := "AWS_ENDPOINT_URL_" + strings.ToUpper(service)
	for _, name := range []string{own, "AWS_ENDPOINT_URL"} {
		if endpoint := os.Getenv(name); endpoint != "" {
			if err := judge(name, endpoint); err != nil || name == own {
				return err
			}
		}
	}
	endpoints, err := configured(service)
	if err != nil {
		return err
	}
	for _, endpoint := range endpoints {
		if err := judge("endpoint_url in AWS's configuration files", endpoint); err != nil {
			return err
		}
	}
	return nil
}

// configured returns the endpoints of a service, and those of all services, in AWS's configuration files, whichever profile they are of
// (https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html).
func configured(service string) ([]string, error) {
	home, _ := os.UserHomeDir() // where there is none, the SDK reads no file either
	var endpoints []string
	for variable, name := range map[string]string{"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"} {
		path := os.Getenv(variable)
		if path == "" {
			path = filepath.Join(home, ".aws", name)
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("blobs: read AWS's configuration file: %w", err)
		}
		defer f.Close()
		outer := "" // of what is indented
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			line := lines.Text()
			indented := strings.TrimLeft(line, " \t") != line
			key, value, _ := strings.Cut(line, "=")
			key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
			switch {
			case strings.HasPrefix(key, "["):
				outer = ""
			case key == "endpoint_url" && (!indented || outer == "" || outer == service):
				endpoints = append(endpoints, value)
			case !indented:
				outer = key
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("blobs: read AWS's configuration file: %w", err)
		}
	}
	return endpoints, nil
}

// checkAzure judges what azureblob takes from the environment where the URL does not say it, and the connection string, with which it
// may connect whatever the URL says.
func checkAzure(query url.Values) error {
	source := ""
	for parameter, name := range map[string]string{
		"protocol": "AZURE_STORAGE_PROTOCOL", "domain": "AZURE_STORAGE_DOMAIN", "localemu": "AZURE_STORAGE_IS_LOCAL_EMULATOR",
	} {
		if v := os.Getenv(name); v != "" && !query.Has(parameter) {
			query.Set(parameter, v)
			source = name
		}
	}
	if source != "" && plaintext(query) != "" {
		return environmentError(source)
	}
	for _, name := range []string{"AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING"} {
		if !encrypted(os.Getenv(name)) {
			return environmentError(name)
		}
	}
	return nil
}

// encrypted judges one of Azure's connection strings: by its endpoint for blobs, and where it has none by its protocol
// (https://learn.microsoft.com/en-us/azure/storage/common/storage-configure-connection-string).
func encrypted(connection string) bool {
	endpoint, protocol := "", "https"
	for part := range strings.SplitSeq(connection, ";") {
		switch key, value, _ := strings.Cut(part, "="); strings.ToLower(strings.TrimSpace(key)) {
		case "blobendpoint":
			endpoint = strings.TrimSpace(value)
		case "defaultendpointsprotocol":
			protocol = strings.TrimSpace(value)
		}
	}
	if endpoint == "" {
		return strings.EqualFold(protocol, "https")
	}
	return plaintext(url.Values{"endpoint": {endpoint}}) == ""
}
