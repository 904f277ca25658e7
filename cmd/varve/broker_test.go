package main

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/broker"
)

// A setting that is not handed over would be silently without effect.
func TestBrokerConfigHandsOverEverySetting(t *testing.T) {
	t.Parallel()
	c := serverConfig{
		DataDir: "a", ObjectStore: "b", Flush: "c", WALLimit: 1, WALHot: 2, TailCache: 3, MaxMessageSize: 4,
		SealBytes: 5, SealAge: time.Second, ColdCache: 6, ColdDisk: 7, HedgeAfter: time.Second, DeleteGrace: time.Second,
		AdvertiseHost: "d", NamesrvListen: "e", BrokerListen: "f", HTTPListen: "g",
		Etcd: []string{"h"}, Cluster: "i", ShardName: "j", LeaseTTL: time.Second, AcceptTailLoss: "k",
		TLSMode: "l", TLSCert: "m", TLSKey: "n", LogLevel: "o", LogFormat: "p", Pprof: true,
	}
	from := reflect.ValueOf(c)
	for i := range from.NumField() {
		if from.Field(i).IsZero() {
			t.Fatalf("the test does not set %s", from.Type().Field(i).Name)
		}
	}
	to := reflect.ValueOf(brokerConfig(c))
	for i := range to.NumField() {
		name := to.Type().Field(i).Name
		if to.Field(i).IsZero() && !slices.Contains([]string{"Logger", "Version", "OnReady", "FS", "BootID"}, name) {
			t.Errorf("%s is not handed over", name)
		}
	}
}

func TestBrokerTakesTheDefaults(t *testing.T) {
	t.Parallel()
	if err := brokerConfig(defaultConfig()).Validate(); err != nil {
		t.Error(err)
	}
}

func TestReadySaysWhereToConnect(t *testing.T) {
	t.Parallel()
	c := defaultConfig()
	c.AdvertiseHost = "broker-1"
	var out bytes.Buffer
	at := broker.Addrs{Namesrv: "[::]:9876", Broker: "[::]:10911", HTTP: "127.0.0.1:8080"}
	if err := writeReady(&out, "1.2.3", c, at); err != nil {
		t.Fatal(err)
	}
	want := `varve 1.2.3 is ready, data in ./varve-data
  namesrv  [::]:9876
  broker   [::]:10911
  http     http://127.0.0.1:8080
Point RocketMQ clients at broker-1:9876, or try:
  echo hello | varve produce my-topic --server broker-1:9876
  varve consume my-topic --group my-group --from first --server broker-1:9876
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
