package tiertest

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/varvemq/varve/broker/brokertest"
	"github.com/varvemq/varve/metadata"
)

// etcdServer is an etcd outside the brokers, whose files can be exchanged.
type etcdServer struct {
	*brokertest.Etcd

	t testing.TB
}

func startEtcd(t testing.TB) *etcdServer {
	t.Helper()
	return &etcdServer{Etcd: brokertest.StartEtcd(t), t: t}
}

// copyDir copies the files of a stopped etcd.
func (e *etcdServer) copyDir() string {
	e.t.Helper()
	to := filepath.Join(e.t.TempDir(), "copy")
	must(e.t, os.CopyFS(to, os.DirFS(e.Dir)))
	return to
}

// replace puts other files in the place of those of a stopped etcd.
func (e *etcdServer) replace(dir string) {
	e.t.Helper()
	must(e.t, os.RemoveAll(e.Dir))
	must(e.t, os.CopyFS(e.Dir, os.DirFS(dir)))
}

// keys returns all keys below a prefix with their values.
func (e *etcdServer) keys(prefix string) map[string]string {
	e.t.Helper()
	out := map[string]string{}
	for after, more := "", true; more; {
		res, err := e.KV().Range(context.WithoutCancel(e.t.Context()), metadata.RangeRequest{Prefix: prefix, After: after, Limit: 500})
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
	_, err := e.KV().Txn(e.t.Context(), nil, []metadata.Op{metadata.Put(key, []byte(value))})
	must(e.t, err)
}
