package catalog

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/metadata"
	"github.com/varvemq/varve/tiering/objstore"
)

// TestDamagedSegment: a segment with a damaged bit, wherever it is behind the blocks, is listed with what it has; with a damaged header besides, which could be that
// of a hole, a start refuses.
func TestDamagedSegment(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.segment(0, 1, 5, []part{{3, 0, 10, 100}, {4, 0, 5, 100}})
	seg, _ := s.segment(0, 5, 9, []part{{3, 10, 20, 200}, {3, 20, 24, 0}, {4, 5, 6, 150}, {9, 0, 4, 300}, {9, 4, 8, 0}})
	s.segment(0, 9, 12, []part{{3, 24, 30, 400}, {9, 8, 9, 400}})
	want := s.open().Recent()
	key := ObjectKey(testShard, 1, seg.Object, metadata.KindSegment)
	good, err := objstore.ReadAll(t.Context(), s.bucket, key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	blocks := uint64(0)
	for _, r := range want[1].Runs {
		blocks += r.Bytes
	}
	lastHole := bytes.LastIndex(good[:blocks], []byte("VBLK"))
	for at := int(blocks); at < len(good); at++ {
		for _, header := range []bool{false, true} {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			if header {
				bad[lastHole+at%64] ^= 1
			}
			if err := objstore.PutBytes(t.Context(), s.bucket, key, bad, objstore.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			c, err := Open(t.Context(), s.config(), &s.state)
			switch {
			case header && err == nil && cmp.Diff(want, c.Recent()) != "", !header && err != nil:
				t.Fatalf("byte %d of %d, header %t: %v", at, len(good), header, err)
			case err != nil && !strings.Contains(err.Error(), key):
				t.Fatalf("byte %d: the object is not named: %v", at, err)
			case err == nil:
				if d := cmp.Diff(want, c.Recent()); d != "" {
					t.Fatalf("byte %d, header %t: %s", at, header, d)
				}
			}
		}
	}
}
