package tiertest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/varvemq/varve/metadata"
)

// etcdServer is an etcd outside the brokers, which can be stopped and started again on the same address.
type etcdServer struct {
	t    testing.TB
	dir  string
	url  string
	etcd *metadata.Embedded
}

func startEtcd(t testing.TB) *etcdServer {
	t.Helper()
	e := &etcdServer{t: t, dir: t.TempDir(), url: "http://127.0.0.1:0"}
	e.start()
	t.Cleanup(e.stop)
	return e
}

func (e *etcdServer) start() {
	e.t.Helper()
	var err error
	e.etcd, err = metadata.OpenEmbedded(e.t.Context(), metadata.EmbedConfig{Dir: e.dir, Listen: e.url, UnsafeNoFsync: true})
	must(e.t, err)
	e.url = e.etcd.Endpoints()[0]
}

func (e *etcdServer) stop() {
	e.t.Helper()
	if e.etcd != nil {
		if err := e.etcd.Close(); err != nil {
			e.t.Error(err)
		}
		e.etcd = nil
	}
}

// copyDir copies the files of a stopped etcd.
func (e *etcdServer) copyDir() string {
	e.t.Helper()
	to := filepath.Join(e.t.TempDir(), "copy")
	must(e.t, os.CopyFS(to, os.DirFS(e.dir)))
	return to
}

// replace puts other files in the place of those of a stopped etcd.
func (e *etcdServer) replace(dir string) {
	e.t.Helper()
	must(e.t, os.RemoveAll(e.dir))
	must(e.t, os.CopyFS(e.dir, os.DirFS(dir)))
}

// keys returns all keys below a prefix with their values.
func (e *etcdServer) keys(prefix string) map[string]string {
	e.t.Helper()
	out := map[string]string{}
	for after, more := "", true; more; {
		res, err := e.etcd.KV().Range(context.WithoutCancel(e.t.Context()), metadata.RangeRequest{Prefix: prefix, After: after, Limit: 500})
		must(e.t, err)
		for _, kv := range res.KVs {
			out[kv.Key], after = string(kv.Value), kv.Key
		}
		more = res.More
	}
	return out
}

// put writes a key past everybody.
func (e *etcdServer) put(key, value string) {
	e.t.Helper()
	_, err := e.etcd.KV().Txn(e.t.Context(), nil, []metadata.Op{metadata.Put(key, []byte(value))})
	must(e.t, err)
}
