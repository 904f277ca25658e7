package brokertest

import (
	"testing"

	"github.com/varvemq/varve/metadata"
)

// Etcd is an etcd outside the brokers, which can be stopped and started again on the same files and port.
type Etcd struct {
	URL string
	Dir string // its files

	t        testing.TB
	embedded *metadata.Embedded // nil while it is stopped
}

// StartEtcd starts an etcd with files of its own, which runs until the test ends.
func StartEtcd(t testing.TB) *Etcd {
	t.Helper()
	e := &Etcd{URL: "http://127.0.0.1:0", Dir: t.TempDir(), t: t}
	e.Start()
	t.Cleanup(e.Stop)
	return e
}

// Start starts it again.
func (e *Etcd) Start() {
	e.t.Helper()
	var err error
	e.embedded, err = metadata.OpenEmbedded(e.t.Context(), metadata.EmbedConfig{Dir: e.Dir, Listen: e.URL, UnsafeNoFsync: true})
	if err != nil {
		e.t.Fatal(err)
	}
	e.URL = e.embedded.Endpoints()[0]
}

// Stop stops it, if it runs.
func (e *Etcd) Stop() {
	e.t.Helper()
	if e.embedded == nil {
		return
	}
	if err := e.embedded.Close(); err != nil {
		e.t.Error(err)
	}
	e.embedded = nil
}

// KV reads and writes its keys past everybody.
func (e *Etcd) KV() metadata.KV { return e.embedded.KV() }
