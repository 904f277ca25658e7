package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/varvemq/varve/internal/remoting"
)

// printSummaries prints a block per broker.
func printSummaries(w io.Writer, objects []statusObject, now time.Time) error {
	for i, o := range objects {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%s  %s  cluster %s\n", dash(o.Broker), dash(o.Addr), dash(o.Cluster)); err != nil {
			return err
		}
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, line := range summary(o, now) {
			if _, err := fmt.Fprintf(table, "  %s\t%s\n", line.name, oneLine(line.value)); err != nil {
				return err
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

type summaryLine struct{ name, value string }

// summary is what people look for in a broker's status. Apache RocketMQ's broker
// does not say all of it; what is missing is left out.
func summary(o statusObject, now time.Time) []summaryLine {
	st := statusKeys(o.Status)
	lines := []summaryLine{
		{"error", o.Error},
		{"version", strings.NewReplacer("Varve_", "Varve ", "_(", " (").Replace(st["brokerVersionDesc"])},
		{"up since", st.since("bootTimestamp", now)},
		{"ready", st.ready()},
		{"epoch", st["shardEpoch"]},
		{"log", st.used("walUsedBytes", "walLimitBytes")},
		{"tail cache", st.used("tailCacheUsedBytes", "tailCacheBytes")},
		{"hot", st.size("walHotBytes")},
		{"connections", st["connections"]},
		{"groups", st.groups()},
		{"messages in", st.flow("msgPutTotalTodayNow", "putTps")},
		{"messages out", st.flow("msgGetTotalTodayNow", "getTransferredTps", "getTransferedTps")},
	}
	lines = append(lines, storageSummary(o.Storage, now)...)
	kept := lines[:0]
	for _, line := range lines {
		if line.value != "" {
			kept = append(kept, line)
		}
	}
	return kept
}

// storageSummary says where the history of a shard is, and what hinders it from getting there.
func storageSummary(st *remoting.StorageStatus, now time.Time) []summaryLine {
	if st == nil {
		return nil
	}
	lines := []summaryLine{
		{"object storage", st.ObjectStore},
		{"segments", fmt.Sprintf("%d, and %d recent ones", st.ManifestObjects, st.RecentSegments)},
		{"unsealed", byteSize(st.UnsealedBytes).about()},
	}
	if st.UnsealedBytes > 0 && st.OldestUnsealed > 0 {
		lines[2].value += fmt.Sprintf(", for up to %v", (time.Duration(st.OldestUnsealed) * time.Millisecond).Round(time.Second))
	}
	if st.SealError != "" {
		lines = append(lines, summaryLine{"sealing", fmt.Sprintf("has failed for %v: %s", now.Sub(time.UnixMilli(st.SealFailing)).Round(time.Second), st.SealError)})
	}
	if st.MaintainError != "" {
		lines = append(lines, summaryLine{"maintenance", "fails: " + st.MaintainError})
	}
	return lines
}

// statusKeys is a broker's status. Its methods return "" for what is missing.
type statusKeys map[string]string

func (st statusKeys) ready() string {
	switch active := st["brokerActive"]; {
	case active == "true":
		return "yes"
	case st["brokerInactiveReason"] != "":
		return "no: " + st["brokerInactiveReason"]
	case active == "false":
		return "no"
	default:
		return ""
	}
}

func (st statusKeys) since(key string, now time.Time) string {
	ms, err := strconv.ParseInt(st[key], 10, 64)
	if err != nil || ms <= 0 {
		return ""
	}
	began := time.UnixMilli(ms).Truncate(time.Second)
	return fmt.Sprintf("%s (%v)", formatTime(began), max(0, now.Truncate(time.Second).Sub(began)))
}

func (st statusKeys) size(key string) string {
	n, err := strconv.ParseInt(st[key], 10, 64)
	if err != nil {
		return ""
	}
	return byteSize(n).about()
}

// used is how much of something is used, and in percent.
func (st statusKeys) used(key, limitKey string) string {
	used, limit := st.size(key), st.size(limitKey)
	n, _ := strconv.ParseInt(st[key], 10, 64)
	most, _ := strconv.ParseInt(st[limitKey], 10, 64)
	switch {
	case used == "" || most <= 0:
		return used
	default:
		return fmt.Sprintf("%s of %s (%.0f %%)", used, limit, 100*float64(n)/float64(most))
	}
}

func (st statusKeys) groups() string {
	consumers, producers := st["consumerGroups"], st["producerGroups"]
	if consumers == "" || producers == "" {
		return ""
	}
	return fmt.Sprintf("%s of consumers, %s of producers", consumers, producers)
}

// flow is a total and its rates, which brokers give over ten seconds, a minute
// and ten minutes under one of several names.
func (st statusKeys) flow(total string, names ...string) string {
	out := st[total]
	for _, name := range names {
		if rates := strings.Fields(st[name]); out != "" && len(rates) == 3 {
			return fmt.Sprintf("%s (per second: %s over 10 s, %s over 1 min, %s over 10 min)", out, rates[0], rates[1], rates[2])
		}
	}
	return out
}
