package broker_test

import (
	"os"
	"testing"
)

// TestMain gives the object stores' SDKs credentials, so that they look for none on the network.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
		"MINIO_ACCESS_KEY": "test", "MINIO_SECRET_KEY": "test",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
