package blobs

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "gocloud.dev/blob/s3blob"
)

// TestTheEnvironmentBringsNoPlaintext: what the URL does not say, an opener takes from the environment.
func TestTheEnvironmentBringsNoPlaintext(t *testing.T) {
	const away, here = "http://192.0.2.1:9000", "http://127.0.0.1:9000"
	names := []string{
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_SSO", "AWS_ENDPOINT_URL_SSO_OIDC", "AWS_ENDPOINT_URL_SIGNIN",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT", "GCE_METADATA_HOST", "IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AWS_WEB_IDENTITY_TOKEN_FILE", "STORAGE_EMULATOR_HOST",
		"STORAGE_EMULATOR_HOST_GRPC", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
		"AZURE_STORAGE_PROTOCOL", "AZURE_STORAGE_DOMAIN", "AZURE_STORAGE_IS_LOCAL_EMULATOR",
		"AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING",
	}
	config := filepath.Join(t.TempDir(), "config")
	t.Setenv("HOME", filepath.Dir(config))
	credentials := filepath.Join(filepath.Dir(config), "credentials.json")
	wellKnown := filepath.Join(filepath.Dir(config), ".config", "gcloud", "application_default_credentials.json")
	must(t, os.MkdirAll(filepath.Dir(wellKnown), 0o700))
	for _, c := range []struct {
		url, set string // variables apart by spaces; CONFIG is what AWS's file has, and CREDENTIALS and WELLKNOWN what Google's have
		refused  string // what the error names
	}{
		{"s3://b", "", ""},
		{"s3://b", "AWS_ENDPOINT_URL=" + away, "AWS_ENDPOINT_URL"},
		{"s3://b", "AWS_ENDPOINT_URL_S3=" + away, "AWS_ENDPOINT_URL_S3"},
		{"s3://b?prefix=a/", "AWS_ENDPOINT_URL_S3=HTTP://s3.example.com", "AWS_ENDPOINT_URL_S3"},
		{"blob+bucket+s3://b", "AWS_ENDPOINT_URL_S3=" + away, "AWS_ENDPOINT_URL_S3"},
		{"s3://b", "AWS_ENDPOINT_URL_S3=https://s3.example.com AWS_ENDPOINT_URL=" + away, ""},
		{"s3://b", "AWS_ENDPOINT_URL_S3=" + here + " AWS_ENDPOINT_URL=" + away, ""},
		{"s3://b", "AWS_ENDPOINT_URL_S3= AWS_ENDPOINT_URL=" + away, "AWS_ENDPOINT_URL"},
		{"s3://b?disable_https=true", "AWS_ENDPOINT_URL_S3=https://s3.example.com", "AWS_ENDPOINT_URL_S3"},
		{"s3://b?endpoint=https://s3.example.com", "AWS_ENDPOINT_URL_S3=" + away, ""},
		{"s3://b", "AWS_ENDPOINT_URL_S3=http://localhost:9000", "AWS_ENDPOINT_URL_S3"}, // b.localhost
		{"s3://b?use_path_style=true", "AWS_ENDPOINT_URL_S3=http://localhost:9000", ""},
		{"s3://b?endpoint=https://s3.example.com&role=arn:x", "AWS_ENDPOINT_URL_STS=" + away, "AWS_ENDPOINT_URL_STS"},
		{"s3://b?endpoint=https://s3.example.com", "AWS_WEB_IDENTITY_TOKEN_FILE=/token AWS_ENDPOINT_URL=" + away, "AWS_ENDPOINT_URL"},
		{"s3://b?endpoint=https://s3.example.com&role=arn:x", "AWS_ENDPOINT_URL_STS=http://localhost:1", ""},
		{"s3://b", "CONFIG=[default]\nregion=x\nendpoint_url\t=" + away, "configuration files"},
		{"s3://b", "CONFIG=[services\u00a0x]\ns3=\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b", "AWS_ENDPOINT_URL_S3= AWS_ENDPOINT_URL=https://s3.example.com CONFIG=[services\u00a0x]\ns3=\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b", "CONFIG=[services\u00a0x]\ndynamodb=\n\tendpoint_url=" + away, ""},
		{"s3://b", "CONFIG=[default]\nendpoint_url=https://s3.example.com", ""},
		{"s3://b?endpoint=https://s3.example.com", "CONFIG=[default]\nendpoint_url=" + away, ""},
		// What aws-sdk-go-v2's config takes for a setting, too (v1.33.3, internal/ini).
		{"s3://b", "CONFIG=[default]\nendpoint_url:" + away, "configuration files"},
		{"s3://b", "CONFIG=[services\u00a0x]\ns3=\n#\u00a0ours\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b", "CONFIG=[services\u00a0x]\ns3=\nours\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b", "CONFIG=[default]\nregion=x\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b", "CONFIG=[default]\na=b\n\tc\u00a0=\u00a0;\u00a0d\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b", "CONFIG=[default]\nregion=#x\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b", "CONFIG=[services\u00a0x]\na=b\n\ts3=\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b", "CONFIG=[default]\nendpoint_url=\"https://s3.example.com\"\u00a0#\u00a0ours", ""},
		// What gets credentials.
		{"s3://b?endpoint=https://s3.example.com", "AWS_ENDPOINT_URL_STS=" + away, ""},
		{"s3://b?endpoint=https://s3.example.com", "AWS_ENDPOINT_URL_STS=" + away + " CONFIG=[default]\nrole_arn=x\nsource_profile=y", "AWS_ENDPOINT_URL_STS"},
		{"s3://b?endpoint=https://s3.example.com", "AWS_ENDPOINT_URL_STS=" + away + " CONFIG=[default]\nweb_identity_token_file:/token", "AWS_ENDPOINT_URL_STS"},
		{"s3://b?endpoint=https://s3.example.com", "AWS_ENDPOINT_URL_SSO=" + away + " CONFIG=[default]\nsso_start_url=x", "AWS_ENDPOINT_URL_SSO"},
		{"s3://b?endpoint=https://s3.example.com", "AWS_ENDPOINT_URL_SSO_OIDC=" + away + " CONFIG=[default]\nsso_session=x", "AWS_ENDPOINT_URL_SSO_OIDC"},
		{"s3://b?endpoint=https://s3.example.com", "CONFIG=[default]\nsso_session=x\n[services\u00a0x]\nsso_oidc=\n\tendpoint_url=" + away, "configuration files"},
		{"s3://b?endpoint=https://s3.example.com", "AWS_ENDPOINT_URL_SIGNIN=" + away + " CONFIG=[default]\nlogin_session=x", "AWS_ENDPOINT_URL_SIGNIN"},
		{"s3://b?endpoint=https://s3.example.com", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + away, "AWS_EC2_METADATA_SERVICE_ENDPOINT"},
		{"s3://b?endpoint=https://s3.example.com", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://169.254.169.254", ""},
		{"s3://b?endpoint=https://s3.example.com", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://[fd00:ec2::254]", ""},
		{"s3://b", "CONFIG=[default]\nec2_metadata_service_endpoint=" + away, "ec2_metadata_service_endpoint"},
		{"s3://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=True AWS_ENDPOINT_URL_S3=" + away + " CONFIG=[default]\nendpoint_url=" + away, ""},
		{"s3://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=false AWS_ENDPOINT_URL_S3=" + away, "AWS_ENDPOINT_URL_S3"},
		{"s3://b", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true AWS_EC2_METADATA_SERVICE_ENDPOINT=" + away, "AWS_EC2_METADATA_SERVICE_ENDPOINT"},
		{"gs://b?grpc=true", "STORAGE_EMULATOR_HOST_GRPC=192.0.2.1:9000", "STORAGE_EMULATOR_HOST_GRPC"},
		{"gs://b?grpc=true", "STORAGE_EMULATOR_HOST_GRPC=https://192.0.2.1:9000", "STORAGE_EMULATOR_HOST_GRPC"}, // the scheme is cut off
		{"gs://b?grpc=true", "STORAGE_EMULATOR_HOST_GRPC=http://127.0.0.1:9000", ""},
		{"gs://b", `CREDENTIALS={"type":"service_account","token_uri":"https://oauth2.googleapis.com/token"}`, ""},
		{"gs://b", `CREDENTIALS={"type":"service_account","token_uri":"http://192.0.2.1/token"}`, "credentials file"},
		{"gs://b", `CREDENTIALS={"type":"service_account","TOKEN_URI":"HTTP://192.0.2.1/token","token_uri":""}`, "credentials file"},
		{"gs://b", `CREDENTIALS={"type":"external_account","token_url":"https://sts.googleapis.com/v1/token","credential_source":{"url":"http://192.0.2.1/"}}`, "credentials file"},
		{"gs://b", `CREDENTIALS={"type":"external_account","credential_source":{"url":"http://169.254.169.254/latest/meta-data/iam/security-credentials"}}`, ""},
		{"gs://b", `CREDENTIALS={"type":"authorized_user","quota_project_id":"http`, ""}, // the SDK refuses it
		{"gs://b", `WELLKNOWN={"type":"authorized_user","token_uri":"http://192.0.2.1/token"}`, "credentials file"},
		{"gs://b", `STORAGE_EMULATOR_HOST=127.0.0.1:9000 CREDENTIALS={"token_uri":"http://192.0.2.1/token"}`, ""},
		{"gs://b", "STORAGE_EMULATOR_HOST=192.0.2.1:9000", "STORAGE_EMULATOR_HOST"},
		{"gs://b", "STORAGE_EMULATOR_HOST=127.0.0.1:9000@example.com", "STORAGE_EMULATOR_HOST"},
		{"gs://b", "STORAGE_EMULATOR_HOST=127.0.0.1:9000", ""},
		{"gs://b", "GCE_METADATA_HOST=192.0.2.1", "GCE_METADATA_HOST"},
		{"gs://b", "GCE_METADATA_HOST=127.0.0.1@192.0.2.1", "GCE_METADATA_HOST"},
		{"gs://b", "GCE_METADATA_HOST=metadata.google.internal", ""},
		{"gs://b", "GCE_METADATA_HOST=169.254.169.254:80", ""},
		{"azblob://c", "IDENTITY_ENDPOINT=http://192.0.2.1/msi/token", "IDENTITY_ENDPOINT"},
		{"azblob://c", "MSI_ENDPOINT=http://192.0.2.1/msi/token", "MSI_ENDPOINT"},
		{"azblob://c", "IDENTITY_ENDPOINT=http://169.254.129.2:8081/msi/token MSI_ENDPOINT=http://localhost:50342/oauth2/token", ""},
		{"azblob://c", "AZURE_STORAGE_PROTOCOL=http", "AZURE_STORAGE_PROTOCOL"},
		{"azblob://c?protocol=https", "AZURE_STORAGE_PROTOCOL=http", ""},
		{"azblob://c?domain=localhost:1", "AZURE_STORAGE_PROTOCOL=http", ""},
		{"azblob://c?domain=localhost:1&protocol=http&localemu=true", "AZURE_STORAGE_DOMAIN=example.com", ""},
		{"azblob://c", "AZURE_STORAGE_PROTOCOL=http AZURE_STORAGE_DOMAIN=example.com", "AZURE_STORAGE_"},
		{"azblob://c", "AZURE_STORAGE_PROTOCOL=http AZURE_STORAGE_DOMAIN=127.0.0.1:10000", ""},
		{"azblob://c?protocol=https", "AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=http;AccountName=a;AccountKey=b", "AZURE_STORAGE_CONNECTION_STRING"},
		{"azblob://c", "AZURE_STORAGEBLOB_CONNECTIONSTRING=AccountName=a;BlobEndpoint=" + away + "/a;AccountKey=b", "AZURE_STORAGEBLOB_CONNECTIONSTRING"},
		{"azblob://c", "AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=http;AccountName=a;BlobEndpoint=" + here + "/a", ""},
		{"azblob://c", "AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=https;AccountName=a;AccountKey=b==", ""},
		{"mem://", "AWS_ENDPOINT_URL=" + away + " STORAGE_EMULATOR_HOST=192.0.2.1", ""},
	} {
		t.Run(c.url+" "+c.set, func(t *testing.T) {
			for _, name := range names {
				t.Setenv(name, "")
			}
			must(t, os.WriteFile(config, nil, 0o600))
			os.Remove(wellKnown)
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
			t.Setenv("AWS_CONFIG_FILE", config)
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(filepath.Dir(config), "none"))
			for _, pair := range strings.Split(c.set, " ") {
				switch name, value, _ := strings.Cut(pair, "="); name {
				case "":
				case "CONFIG":
					must(t, os.WriteFile(config, []byte(strings.ReplaceAll(value, "\u00a0", " ")), 0o600))
				case "CREDENTIALS":
					must(t, os.WriteFile(credentials, []byte(value), 0o600))
					t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", credentials)
				case "WELLKNOWN":
					must(t, os.WriteFile(wellKnown, []byte(value), 0o600))
				default:
					t.Setenv(name, value)
				}
			}
			u, err := url.Parse(c.url)
			must(t, err)
			err = checkEnvironment(u)
			if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestTheFilesAreWhereTheSDKHasThem, in a service without HOME, too.
func TestTheFilesAreWhereTheSDKHasThem(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if got := userHome(); got != home {
		t.Errorf("%s is looked at", got)
	}
	t.Setenv("HOME", "")
	u, err := user.Current()
	if err != nil {
		t.Skipf("this user has no entry: %v", err)
	}
	if got := userHome(); got != u.HomeDir || got == "" {
		t.Errorf("without HOME %q is looked at, and the SDK looks at %q", got, u.HomeDir)
	}
}

// TestOpenAsksTheEnvironment, and an opener does heed it: what goes to this machine may go there in plaintext.
func TestOpenAsksTheEnvironment(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		rw.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	const raw = "s3://b?region=eu-central-1&anonymous=true"
	t.Setenv("AWS_ENDPOINT_URL_S3", server.URL)
	b, err := Open(t.Context(), raw, w.guard, nil)
	must(t, err)
	defer b.Close()
	if _, err := b.ReadAll(w.a, "k"); err == nil || asked.Load() == 0 {
		t.Fatalf("the opener does not heed the environment: %v, after %d requests", err, asked.Load())
	}
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://192.0.2.1:9000")
	if b, err := Open(t.Context(), raw, w.guard, nil); err == nil || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL_S3") {
		t.Errorf("opened %v, %v: the store's credentials and the objects' names go out in plaintext", b, err)
	}
	b, err = Open(t.Context(), raw, w.guard, &Options{InsecureAllowPlaintext: true})
	must(t, err)
	must(t, b.Close())
}
