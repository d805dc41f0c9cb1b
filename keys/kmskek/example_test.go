package kmskek_test

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/core/registry"

	"github.com/strongroom-go/strongroom/keys"
	"github.com/strongroom-go/strongroom/keys/kmskek"
	"github.com/strongroom-go/strongroom/tenant"
)

// The client is one such as awskms.NewClientWithOptions or gcpkms.NewClient returns.
func ExampleNew() {
	open := func(client registry.KMSClient, arns map[tenant.ID]string) (*kmskek.KEK, error) {
		return kmskek.New(client, func(id tenant.ID) (string, error) {
			if arn, ok := arns[id]; ok {
				return "aws-kms://" + arn, nil
			}
			return "", fmt.Errorf("tenant %s has brought no key: %w", id, keys.ErrNotFound)
		}, nil)
	}
	_ = open
}
