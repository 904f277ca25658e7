package metadata

import (
	"errors"
	"testing"
	"time"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, value string
		want       Policy
	}{
		{AttributeRetentionMs, "60000", Policy{MaxAge: time.Minute}},
		{AttributeRetentionMs, "-1", Policy{}},
		{AttributeRetentionBytes, "1073741824", Policy{MaxBytes: 1 << 30}},
		{AttributeRetentionBytes, "-1", Policy{}},
		{AttributeCompression, "lz4", Policy{}},
		{AttributeCompression, "lz4-9", Policy{Compression: 9}},
		{AttributeCompression, "none", Policy{Compression: NoCompression}},
		{AttributeIndexKeys, "all", Policy{}},
		{AttributeIndexKeys, "keys", Policy{IndexKeys: IndexKeysOnly}},
		{AttributeIndexKeys, "none", Policy{IndexKeys: IndexKeysNone}},
		{AttributeDurability, "local", Policy{}},
		{AttributeDurability, "object", Policy{Object: true}},
		{"message.type", "FIFO", Policy{}},
	} {
		topic := Topic{Attributes: map[string]string{c.key: c.value}}
		if got := topic.Policy(); got != c.want {
			t.Errorf("%s=%s: %+v", c.key, c.value, got)
		}
		if known, err := CheckPolicyAttribute(c.key, c.value); err != nil || known != (c.key != "message.type") {
			t.Errorf("%s=%s: %v, %v", c.key, c.value, known, err)
		}
	}
	for key, values := range map[string][]string{
		AttributeRetentionMs:    {"", "0", "-2", "1h", "9223372036854775807"},
		AttributeRetentionBytes: {"", "0", "-2", "1GiB"},
		AttributeCompression:    {"", "lz4-0", "lz4-10", "zstd"},
		AttributeIndexKeys:      {"", "ALL"},
		AttributeDurability:     {"", "quorum"},
	} {
		for _, value := range values {
			if known, err := CheckPolicyAttribute(key, value); !known || !errors.Is(err, ErrInvalid) {
				t.Errorf("%s=%q: %v, %v", key, value, known, err)
			}
			topic := Topic{Attributes: map[string]string{key: value}}
			if got := topic.Policy(); got != (Policy{}) {
				t.Errorf("%s=%q has an effect: %+v", key, value, got)
			}
		}
	}
}
