package remoting

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	wire "github.com/varvemq/varve/internal/remoting"
)

// runtimeInfo serves GET_BROKER_RUNTIME_INFO: the table that mqadmin's clusterList and brokerStatus and the dashboard read.
func (s *Server) runtimeInfo(context.Context, *conn, *wire.Command) (*wire.Command, error) {
	now := time.Now()
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	putsYesterday, putsToday, puts := s.stats.totals(&s.stats.puts)
	getsYesterday, getsToday, gets := s.stats.totals(&s.stats.gets)
	consumers, producers := s.deps.Groups.Counts()
	gotten := s.triplet(&s.stats.gets)
	logStats := s.deps.Log.WAL().Stats()
	table := map[string]string{
		"brokerVersionDesc": s.versionName(),
		"brokerVersion":     count(int64(wire.CurrentVersion)),
		"brokerActive":      strconv.FormatBool(s.deps.Ready() == nil),
		"bootTimestamp":     count(s.started.UnixMilli()),
		"shardEpoch":        strconv.FormatUint(s.deps.Metadata.Own.Epoch(), 10),
		"runtime":           runtimeText(now.Sub(s.started)),
		"brokerRole":        "SYNC_MASTER",

		"msgPutTotalYesterdayMorning":  count(putsYesterday),
		"msgPutTotalTodayMorning":      count(putsToday),
		"msgPutTotalTodayNow":          count(puts),
		"msgGetTotalYesterdayMorning":  count(getsYesterday),
		"msgGetTotalTodayMorning":      count(getsToday),
		"msgGetTotalTodayNow":          count(gets),
		"putMessageTimesTotal":         count(puts),
		"getMessageTransferedMsgCount": count(gets),
		"putTps":                       s.triplet(&s.stats.puts),
		"getTransferedTps":             gotten, // as 4.x spells it
		"getTransferredTps":            gotten,
		"getFoundTps":                  gotten,
		"getTotalTps":                  gotten,
		"getMissTps":                   "0.0 0.0 0.0",
		"putMessageAverageSize":        strconv.FormatFloat(float64(s.stats.puts.bytes.Load())/float64(max(1, puts)), 'f', 1, 64),

		"connections":    count(int64(s.Connections())),
		"consumerGroups": count(int64(consumers)),
		"producerGroups": count(int64(producers)),
		"goroutines":     count(int64(runtime.NumGoroutine())),

		"walLimitBytes":      count(logStats.Limit),
		"walUsedBytes":       count(logStats.Bytes),
		"walHotBytes":        count(s.cfg.WALHot),
		"tailCacheBytes":     count(s.cfg.TailCache),
		"tailCacheUsedBytes": count(logStats.TailBytes),

		// What follows has no counterpart here, but mqadmin parses it.
		"dispatchBehindBytes":             "0",
		"pageCacheLockTimeMills":          "0",
		"earliestMessageTimeStamp":        count(s.started.UnixMilli()),
		"startAcceptSendRequestTimeStamp": "0",
		"commitLogDiskRatio":              "0.0",
		"consumeQueueDiskRatio":           "0.0",
		"commitLogMinOffset":              "0",
		"commitLogMaxOffset":              "0",
		"remainTransientStoreBufferNumbs": "0",
		"remainHowManyDataToFlush":        "0 B",
		"timerReadBehind":                 "0",
		"timerOffsetBehind":               "0",
		"timerCongestNum":                 "0",
		"timerEnqueueTps":                 "0.0",
		"timerDequeueTps":                 "0.0",
	}
	if err := s.deps.Ready(); err != nil {
		table["brokerInactiveReason"] = err.Error()
	}
	for _, pool := range []string{"send", "pull", "litePull", "query", "ack"} {
		table[pool+"ThreadPoolQueueSize"] = "0"
		table[pool+"ThreadPoolQueueCapacity"] = "0"
		table[pool+"ThreadPoolQueueHeadWaitTimeMills"] = "0"
	}
	if s.cfg.DataDir != "" {
		table["commitLogDirCapacity"] = "Dir : " + s.cfg.DataDir
	}
	return bodyResponse(&wire.KVTable{Table: table})
}

// versionName is our name and the release of RocketMQ whose protocol we speak.
func (s *Server) versionName() string {
	name := "Varve"
	if s.cfg.Version != "" {
		name += "_" + s.cfg.Version
	}
	return name + "_(V5_3_3)"
}

// triplet is the rate over ten seconds, a minute and ten minutes.
func (s *Server) triplet(t *traffic) string {
	return fmt.Sprintf("%.2f %.2f %.2f", s.stats.perSecond(t, windowSlot), s.stats.perSecond(t, time.Minute), s.stats.perSecond(t, 10*time.Minute))
}

// runtimeText is an uptime as RocketMQ writes it.
func runtimeText(d time.Duration) string {
	secs := int64(d / time.Second)
	return fmt.Sprintf("[ %d days, %d hours, %d minutes, %d seconds ]", secs/86400, secs/3600%24, secs/60%60, secs%60)
}

// brokerConfig serves GET_BROKER_CONFIG, with those of RocketMQ's keys that mean something here.
func (s *Server) brokerConfig(context.Context, *conn, *wire.Command) (*wire.Command, error) {
	flush := "ASYNC_FLUSH"
	if s.cfg.FlushSync {
		flush = "SYNC_FLUSH"
	}
	var b strings.Builder
	for _, kv := range [][2]string{
		{"autoCreateSubscriptionGroup", "true"},
		{"autoCreateTopicEnable", "true"},
		{"brokerClusterName", s.cfg.Cluster},
		{"brokerId", strconv.FormatInt(wire.MasterID, 10)},
		{"brokerIP1", s.cfg.Advertise.Addr().String()},
		{"brokerName", s.cfg.Shard},
		{"brokerPermission", "6"},
		{"brokerRole", "SYNC_MASTER"},
		{"flushDiskType", flush},
		{"listenPort", strconv.Itoa(int(s.cfg.Advertise.Port()))},
		{"maxMessageSize", strconv.Itoa(s.cfg.MaxMessage)},
	} {
		fmt.Fprintf(&b, "%s=%s\n", kv[0], kv[1])
	}
	resp := &wire.Command{Code: wire.RespSuccess, Body: []byte(b.String())}
	resp.Ext.Add("version", "{}")
	return resp, nil
}
