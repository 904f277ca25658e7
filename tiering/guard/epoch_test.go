package guard

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/varvemq/varve/tiering/objstore"
	"github.com/varvemq/varve/tiering/objstore/faulty"
)

func testEpoch(epoch uint64) Epoch {
	return Epoch{Cluster: uuid.UUID{1}, Shard: testShard, Epoch: epoch, Revision: 7, Broker: "b", WAL: "w", Claim: "c", CreatedMs: 1}
}

func TestMarkEpoch(t *testing.T) {
	t.Parallel()
	bucket := objstore.NewMem()
	mine := testEpoch(5)
	if err := MarkEpoch(t.Context(), bucket, mine); err != nil {
		t.Fatal(err)
	}
	if err := MarkEpoch(t.Context(), bucket, mine); err != nil {
		t.Errorf("repeated: %v", err)
	}
	for name, change := range map[string]func(*Epoch){
		"another claim of the same broker": func(e *Epoch) { e.Claim = "d" },
		"another broker":                   func(e *Epoch) { e.Broker, e.WAL = "x", "y" },
		"a copy of etcd":                   func(e *Epoch) { e.Revision++ },
	} {
		theirs := mine
		change(&theirs)
		if err := MarkEpoch(t.Context(), bucket, theirs); !errors.Is(err, ErrEpochTaken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := ReadEpoch(t.Context(), bucket, testShard, 5)
	if err != nil || *got != mine {
		t.Errorf("%+v, %v: not what was marked first", got, err)
	}
	for name, change := range map[string]func(*Epoch){
		"no claim": func(e *Epoch) { e.Claim = "" }, "no cluster": func(e *Epoch) { e.Cluster = uuid.Nil },
		"no epoch": func(e *Epoch) { e.Epoch = 0 }, "no shard": func(e *Epoch) { e.Shard = "" }, "no revision": func(e *Epoch) { e.Revision = 0 },
	} {
		bad := testEpoch(6)
		change(&bad)
		if err := MarkEpoch(t.Context(), bucket, bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestMarkEpochWithLostAnswers(t *testing.T) {
	t.Parallel()
	for _, fault := range []faulty.Fault{faulty.LostAnswer, faulty.OwnPrecondition, faulty.ServerError} {
		mem := objstore.NewMem()
		bucket := faulty.New(mem, faulty.Config{Plan: func(op faulty.Op) faulty.Fault {
			if op.N == 1 {
				return fault
			}
			return faulty.None
		}})
		err := MarkEpoch(t.Context(), bucket, testEpoch(5))
		if err != nil && !objstore.Retriable(err) {
			t.Errorf("%v: %v", fault, err)
		}
		if err := MarkEpoch(t.Context(), bucket, testEpoch(5)); err != nil {
			t.Errorf("%v, repeated: %v", fault, err)
		}
	}
}

func TestReadEpochRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, content string
		want          error
	}{
		{"no JSON", "{", ErrCorrupt},
		{"a newer version", `{"v":2}`, ErrVersion},
		{"another epoch", `{"v":1,"cluster":"01000000-0000-0000-0000-000000000000","shard":"broker a/0","epoch":6,"etcd_revision":7,"claim":"c"}`, ErrCorrupt},
		{"another shard", `{"v":1,"cluster":"01000000-0000-0000-0000-000000000000","shard":"other","epoch":5,"etcd_revision":7,"claim":"c"}`, ErrCorrupt},
		{"no revision", `{"v":1,"cluster":"01000000-0000-0000-0000-000000000000","shard":"broker a/0","epoch":5,"claim":"c"}`, ErrCorrupt},
	} {
		bucket := objstore.NewMem()
		if err := objstore.PutBytes(t.Context(), bucket, EpochKey(testShard, 5), []byte(c.content), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadEpoch(t.Context(), bucket, testShard, 5); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := Check(t.Context(), Input{Bucket: bucket, Shard: testShard, ShardEpoch: 5, EtcdRevision: 100}); !errors.Is(err, c.want) {
			t.Errorf("%s: check: %v", c.name, err)
		}
	}
}

func TestPruneEpochs(t *testing.T) {
	t.Parallel()
	bucket := objstore.NewMem()
	if err := PruneEpochs(t.Context(), bucket, testShard, 1); err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{1, 2, 9, 16, 255} {
		if err := MarkEpoch(t.Context(), bucket, testEpoch(n)); err != nil {
			t.Fatal(err)
		}
	}
	other := testEpoch(1)
	other.Shard = testShard + "/"
	if err := MarkEpoch(t.Context(), bucket, other); err != nil {
		t.Fatal(err)
	}
	if err := PruneEpochs(t.Context(), bucket, testShard, 16); !errors.Is(err, ErrEpochTaken) {
		t.Errorf("below a marked epoch: %v", err)
	}
	for range 2 {
		if err := PruneEpochs(t.Context(), bucket, testShard, 255); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ListEpochs(t.Context(), bucket, testShard)
	if err != nil || !slices.Equal(got, []uint64{16, 255}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = ListEpochs(t.Context(), bucket, other.Shard); err != nil || !slices.Equal(got, []uint64{1}) {
		t.Errorf("another shard's: %v, %v", got, err)
	}
}

func TestParseEpochKey(t *testing.T) {
	t.Parallel()
	for _, shard := range []string{"s", ".hidden", "a/b", "~", "ü", "s-"} {
		key := EpochKey(shard, 0xabc)
		if err := objstore.ValidateKey(key); err != nil {
			t.Errorf("%q: %v", shard, err)
		}
		got, epoch, ok := ParseEpochKey(key)
		if !ok || got != shard || epoch != 0xabc {
			t.Errorf("%s: %q, %d, %v", key, got, epoch, ok)
		}
	}
	for _, key := range []string{
		"", "epochs/s-a", "epochs/s-a/", "epochs/a/0000000000000001", "epochs/s-/0000000000000001", "epochs/s-a/0000000000000000", "epochs/s-a/000000000000000A",
		"epochs/s-a/1", "epochs/s-a/0000000000000001/x", "epochs/s-a~b/0000000000000001", "epochs/s-a/+000000000000001",
	} {
		if _, _, ok := ParseEpochKey(key); ok {
			t.Errorf("%q was taken", key)
		}
	}
	if a, b := fmt.Sprint(EpochPrefix("a")), EpochPrefix("a/b"); len(b) > len(a) && b[:len(a)] == a {
		t.Errorf("%s is within %s", b, a)
	}
}
