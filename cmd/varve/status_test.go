package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/remoting"
)

func testStatus() []statusObject {
	return []statusObject{
		{Cluster: "C", Broker: "varve-a", Addr: "10.0.0.1:10911", Status: map[string]string{
			"brokerVersionDesc": "Varve_v0.1.0_(V5_3_3)", "bootTimestamp": "1769871845123", "brokerActive": "false",
			"brokerInactiveReason": "the lease has run out", "shardEpoch": "7", "walUsedBytes": "1288490188", "walLimitBytes": "10737418240",
			"tailCacheUsedBytes": "0", "tailCacheBytes": "268435456", "walHotBytes": "1500", "connections": "12", "consumerGroups": "3",
			"producerGroups": "1", "msgPutTotalTodayNow": "1000", "putTps": "12.50 10.00 9.25", "msgGetTotalTodayNow": "5",
			"getTransferredTps": "0.00 0.00 0.01", "goroutines": "99",
		}},
		{Cluster: "C", Broker: "apache", Addr: "10.0.0.2:10911", Status: map[string]string{
			"brokerVersionDesc": "V4_9_8", "brokerActive": "true", "msgGetTotalTodayNow": "5", "getTransferedTps": "1.0 2.0 3.0", "bootTimestamp": "x",
		}},
		{Cluster: "C", Broker: "gone", Addr: "10.0.0.3:10911", Error: "connection\nrefused"},
	}
}

func TestStatusSummary(t *testing.T) {
	t.Parallel()
	const want = `varve-a  10.0.0.1:10911  cluster C
  version       Varve v0.1.0 (V5_3_3)
  up since      2026-01-31T15:04:05Z (26h0m1s)
  ready         no: the lease has run out
  epoch         7
  log           1.2 GiB of 10 GiB (12 %)
  tail cache    0 B of 256 MiB (0 %)
  hot           1.46 KiB
  connections   12
  groups        3 of consumers, 1 of producers
  messages in   1000 (per second: 12.50 over 10 s, 10.00 over 1 min, 9.25 over 10 min)
  messages out  5 (per second: 0.00 over 10 s, 0.00 over 1 min, 0.01 over 10 min)

apache  10.0.0.2:10911  cluster C
  version       V4_9_8
  ready         yes
  messages out  5 (per second: 1.0 over 10 s, 2.0 over 1 min, 3.0 over 10 min)

gone  10.0.0.3:10911  cluster C
  error  connection\nrefused
`
	var out bytes.Buffer
	now := time.Date(2026, 2, 1, 17, 4, 6, 7, time.UTC)
	if err := printStatus(streams{out: &out}, outputFlag{}, testStatus(), false, now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWholeStatus(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		output outputFlag
		lines  int
		want   string
	}{
		"table": {outputFlag{}, 1 + 21 + 8 + 4, "varve-a  goroutines            99\n"},
		"json":  {outputFlag{format: formatJSON}, 3, `"goroutines":"99"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := printStatus(streams{out: &out}, tt.output, testStatus(), true, time.Now()); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(out.String(), "\n"); n != tt.lines || !strings.Contains(out.String(), tt.want) {
				t.Errorf("%d lines, want %d with %q: %s", n, tt.lines, tt.want, out.String())
			}
		})
	}
}

func TestAboutBytes(t *testing.T) {
	t.Parallel()
	for size, want := range map[byteSize]string{
		0: "0 B", 1023: "1023 B", kib: "1 KiB", 1500: "1.46 KiB", 1000 * mib: "1000 MiB", 10 * gib: "10 GiB", 3*tib + tib/2: "3.5 TiB",
	} {
		if got := size.about(); got != want {
			t.Errorf("%d: %q, want %q", int64(size), got, want)
		}
	}
}

func TestStorageStatus(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	st := &remoting.StorageStatus{ObjectStore: "s3://b/p", ManifestObjects: 7, RecentSegments: 2, UnsealedBytes: 3 << 20, OldestUnsealed: 90_400}
	for name, tt := range map[string]struct {
		change func()
		want   []summaryLine
	}{
		"well": {func() {}, []summaryLine{{"object storage", "s3://b/p"}, {"segments", "7, and 2 recent ones"}, {"unsealed", "3 MiB, for up to 1m30s"}}},
		"failing": {func() {
			st.SealError, st.SealFailing, st.MaintainError = "no route", now.Add(-time.Minute).UnixMilli(), "no bucket"
		}, []summaryLine{
			{"object storage", "s3://b/p"},
			{"segments", "7, and 2 recent ones"},
			{"unsealed", "3 MiB, for up to 1m30s"},
			{"sealing", "has failed for 1m0s: no route"},
			{"maintenance", "fails: no bucket"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.change()
			if got := storageSummary(st, now); !slices.Equal(got, tt.want) {
				t.Errorf("%q", got)
			}
			st.SealError, st.MaintainError = "", ""
		})
	}
	if got := storageSummary(nil, now); got != nil {
		t.Errorf("of another's broker: %q", got)
	}
}
