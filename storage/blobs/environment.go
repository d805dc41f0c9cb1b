package blobs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/strongroom-go/strongroom/internal/plainfile"
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
		return checkGoogle()
	}
	return nil
}

func environmentError(source string) error {
	return fmt.Errorf("blobs: %s has the bucket's opener make a connection that is not encrypted and not on loopback; "+
		"change it, or set Options.InsecureAllowPlaintext if something else protects the connection", source)
}

// checkAWS judges the endpoint that the SDK would take as one in the URL is judged, which comes before all others
// (https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html), and those of the services that it would get credentials from.
func checkAWS(query url.Values) error {
	settings, err := readAWSFiles()
	if err != nil {
		return err
	}
	var services []string
	if !query.Has("endpoint") {
		services = append(services, "s3")
	}
	if query.Has("role") || os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" || settings.has("role_arn") || settings.has("web_identity_token_file") {
		services = append(services, "sts")
	}
	if settings.has("sso_session") || settings.has("sso_start_url") {
		services = append(services, "sso", "sso_oidc")
	}
	if settings.has("login_session") {
		services = append(services, "signin")
	}
	for _, service := range services {
		asked := query
		if service != "s3" { // it answers with credentials, and has no buckets
			asked = url.Values{"use_path_style": {"true"}}
		}
		if err := checkService(service, asked, settings); err != nil {
			return err
		}
	}
	return checkMetadata(settings)
}

func readAWSFiles() (settings awsSettings, err error) {
	for variable, name := range map[string]string{"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"} {
		path := os.Getenv(variable)
		if path == "" {
			path = filepath.Join(userHome(), ".aws", name)
		}
		text, err := readEnvironmentFile(path)
		if err == nil {
			settings, err = settings.read(bytes.NewReader(text))
		}
		if err != nil {
			return nil, fmt.Errorf("blobs: read AWS's configuration file: %w", err)
		}
	}
	return settings, nil
}

// maxEnvironmentFile bounds what is read of a file that the environment names, in bytes.
const maxEnvironmentFile = 16 << 20

// readEnvironmentFile reads a file that the SDK will read, and that must have an end there as well. There may be none, and the empty device is
// how one is said not to be there.
func readEnvironmentFile(path string) ([]byte, error) {
	if path == os.DevNull {
		return nil, nil
	}
	text, err := plainfile.Read(path, maxEnvironmentFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// inFiles is how errors call AWS's configuration files.
const inFiles = " in AWS's configuration files"

// checkService looks where the SDK does: at the variable for the service, that for all services, and the files. The SDK has a rule for
// when the last two count; here each that could is judged.
func checkService(service string, query url.Values, settings awsSettings) error {
	judge := func(source, endpoint string) error {
		query.Set("endpoint", endpoint)
		if plaintext(query) != "" || besideLocalhost(query) {
			return environmentError(source)
		}
		return nil
	}
	if strings.EqualFold(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
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
	for _, s := range settings {
		if s.key == "endpoint_url" && (s.outer == "" || s.outer == service) {
			if err := judge("endpoint_url"+inFiles, s.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// judgeMetadata judges where an SDK would ask for the machine's own credentials, which has no TLS: that service is at a link-local
// address, or that of AWS in IPv6.
func judgeMetadata(source, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err == nil && u.User == nil {
		ip, err := netip.ParseAddr(u.Hostname())
		if u.Scheme == "https" || isLoopback(u.Host) || err == nil && (ip.IsLinkLocalUnicast() || ip == netip.MustParseAddr("fd00:ec2::254")) {
			return nil
		}
	}
	return environmentError(source)
}

func checkMetadata(settings awsSettings) error {
	if name := "AWS_EC2_METADATA_SERVICE_ENDPOINT"; os.Getenv(name) != "" {
		return judgeMetadata(name, os.Getenv(name))
	}
	for _, s := range settings {
		if s.key == "ec2_metadata_service_endpoint" && s.outer == "" {
			if err := judgeMetadata(s.key+inFiles, s.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkGoogle judges where objects are, and where credentials come from: from the machine, or from whom a file names (https://google.aip.dev/auth/4110).
func checkGoogle() error {
	emulated := false
	for _, name := range []string{"STORAGE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST_GRPC"} { // the second with grpc=true; with or without a scheme
		host := os.Getenv(name)
		if host == "" {
			continue
		}
		if _, behind, scheme := strings.Cut(host, "://"); scheme && name == "STORAGE_EMULATOR_HOST_GRPC" {
			host = behind // which the client cuts off, whatever it says
		}
		if emulated = true; !isLoopback(host) {
			return environmentError(name)
		}
	}
	if name := "GCE_METADATA_HOST"; os.Getenv(name) != "" && os.Getenv(name) != googleMetadata {
		if err := judgeMetadata(name, "http://"+os.Getenv(name)); err != nil {
			return err
		}
	}
	if emulated {
		return nil // without credentials
	}
	path := os.Getenv("GOOGLE_APPLICATION_CREDENTIALS")
	if path == "" {
		path = filepath.Join(userHome(), ".config", "gcloud", "application_default_credentials.json")
		if runtime.GOOS == "windows" {
			path = filepath.Join(os.Getenv("APPDATA"), "gcloud", "application_default_credentials.json")
		}
	}
	text, err := readEnvironmentFile(path)
	if err == nil {
		err = judgeCredentials(bytes.NewReader(text))
	}
	if err != nil {
		return fmt.Errorf("blobs: Google's credentials file: %w", err)
	}
	return nil
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
	for _, name := range []string{"IDENTITY_ENDPOINT", "MSI_ENDPOINT"} {
		if endpoint := os.Getenv(name); endpoint != "" {
			if err := judgeMetadata(name, endpoint); err != nil {
				return err
			}
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
