package manifest

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/varvemq/varve/internal/message"
)

var update = flag.Bool("update", false, "write the golden files and the fuzz corpus anew: only for a new format version")

// TestFormatPage holds docs/format/manifest.md against the code.
func TestFormatPage(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/format/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for name, want := range map[string]int64{
		"format version": formatVersion, "root header": rootHeader, "root at most": MaxRootBytes, "segments per page": MaxPageSegments, "runs per page": MaxPageRuns,
		"page at most": MaxPageBytes, "runs of a queue at most": maxQueueRuns, "directory block": directoryTarget, "directory block at most": maxDirectory,
		"segments per block": segmentsPer, "index at most": maxIndex, "index header": indexHeader, "segment block row": segmentRowSize,
		"directory block row": blockRowSize, "footer size": footerSize, "tail read": tailBytes, "shard name at most": maxShardName, "ordinal at most": message.MaxOrdinal,
	} {
		m := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(name) + ` \| (\d+) \|$`).FindStringSubmatch(page)
		if m == nil {
			t.Errorf("the page does not say %q", name)
		} else if got, _ := strconv.ParseInt(m[1], 10, 64); got != want {
			t.Errorf("%s: %d on the page, %d in the code", name, got, want)
		}
	}
	// Where fields stand, as the code has them.
	root := (&Root{Shard: "s"}).Encode()
	f := footer{PageIdentity: PageIdentity{Shard: "shard"}, indexLen: 0x01020304, queues: 0x05060708}
	foot := f.append(nil)
	x := index{segs: make([]segRow, 1), dir: make([]dirRow, 1)}
	switch {
	case len(root) != rootHeader+1, root[96] != 1, root[97] != 's', len(foot) != footerSize, le.Uint32(foot[104:]) != f.indexLen, le.Uint32(foot[116:]) != f.queues,
		string(foot[120:126]) != "\x05shard", len(x.encode()) != indexHeader+segmentRowSize+blockRowSize:
		t.Errorf("root of %d, footer of %d, index of %d bytes", len(root), len(foot), len(x.encode()))
	}
	for _, want := range []string{
		"magic `" + rootMagic + "`", "magic `" + footerMagic + "`", "magic `" + indexMagic + "`", "footer (512 bytes)", "| 496 | 4 | crc32c of bytes 0–495 and 500–511 |",
		"| 12 | 4 | crc32c of bytes 0–11 and of byte 16 to the end of the header |", "| 16 | 8 each |", "| | 24 each |", "up to 1,024 segments", "at most 64 MiB.",
		"at most 4,194,304 runs and 256 MiB", "the last 64 KiB", "takes it to 4 KiB (at most 8 KiB)", "blocks of 64 segments",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// goldenPage and goldenRoot are what is kept.
func goldenPage() []PageSegment {
	return []PageSegment{
		{
			Entry: Entry{
				Object: 3, Epoch: 1, Size: 70_000, FooterCRC: 0xdeadbeef, FirstLSN: 1, EndLSN: 500, MinStore: 1_700_000_000_000, MaxStore: 1_700_000_060_000, Messages: 42,
				RawBytes: 90_000,
			},
			Runs: []Run{{Ordinal: 4, First: 0, End: 40, Bytes: 60_000}, {Ordinal: 9, First: 1 << 35, End: 1<<35 + 2, Bytes: 300}},
		},
		{Entry: Entry{Object: 4, Epoch: 1, Size: 600, FooterCRC: 1, FirstLSN: 500, EndLSN: 510}},
		{
			Entry: Entry{
				Object: 9, Epoch: 2, Level: 1, Size: 1 << 28, FooterCRC: 0xffffffff, FirstLSN: 510, EndLSN: 90_000, MinStore: 1_699_999_999_000, MaxStore: 1_700_009_000_000,
				Messages: 1 << 20, RawBytes: 1 << 29,
			},
			Runs: []Run{{Ordinal: 4, First: 1000, End: 9000, Bytes: 1 << 27}},
		},
		{
			Entry: Entry{
				Object: 10, Epoch: 2, Level: 1, Size: 1 << 20, FooterCRC: 77, FirstLSN: 510, EndLSN: 90_000, MinStore: 1_700_000_000_500, MaxStore: 1_700_000_900_000,
				Messages: 5000, RawBytes: 1 << 21,
			},
			Runs: []Run{{Ordinal: 4, First: 9000, End: 9001, Bytes: 200}, {Ordinal: 9, First: 1<<35 + 2, End: 1<<35 + 5001, Bytes: 1 << 19}, {Ordinal: 268435455, First: 7, End: 8, Bytes: 64}},
		},
	}
}

func goldenRoot(ref PageRef) *Root {
	return &Root{
		Cluster: testPageIdentity().Cluster, Shard: "s0", Epoch: 7, Object: 100, EtcdRevision: 4711, Created: 1_700_009_100_000, EndLSN: 90_000, Pages: []PageRef{ref},
		Queues: []QueueRow{
			{Ordinal: 4, First: 0, End: 9001, LastStore: 1_700_009_000_000, Bytes: 1<<27 + 60_200},
			{Ordinal: 5, First: 77, End: 77, LastStore: 1_600_000_000_000},
			{Ordinal: 9, First: 1 << 35, End: 1<<35 + 5001, LastStore: 1_700_000_900_000, Cursor: 1<<35 + 4, Bytes: 1<<19 + 300},
			{Ordinal: 268435455, First: 7, End: 8, LastStore: 1_700_000_000_500, Bytes: 64},
		},
	}
}

// TestGolden: version 1 is what it always was.
func TestGolden(t *testing.T) {
	t.Parallel()
	page, ref := encode(t, goldenPage())
	root := goldenRoot(ref)
	for name, b := range map[string][]byte{"v1.page": page, "v1.root": root.Encode()} {
		name = filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b, want) {
			t.Errorf("%s is no longer written as in version 1", name)
		}
	}
	b, err := os.ReadFile(filepath.Join("testdata", "v1.root"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeRoot(b)
	if err != nil || !cmp.Equal(got, root) {
		t.Fatalf("%v: %s", err, cmp.Diff(root, got))
	}
	if b, err = os.ReadFile(filepath.Join("testdata", "v1.page")); err != nil {
		t.Fatal(err)
	}
	p, src := open(t, b, got.Pages[0])
	check(t, rand.New(rand.NewPCG(1, 1)), p, goldenPage())
	if n := src.gets.Load(); n != 1 {
		t.Errorf("%d requests for a page of %d bytes", n, len(b))
	}
}

// TestSizes measures what docs/format/manifest.md says of sizes.
func TestSizes(t *testing.T) {
	t.Parallel()
	rng := seed(t)
	r := testRoot(rng, (1<<50)/(256<<20)/MaxPageSegments, 100_000)
	b := r.Encode()
	t.Logf("1 PiB in segments of 256 MiB, 100,000 queues: %d pages, a root of %d bytes: %d of pages, %d of queues", len(r.Pages), len(b), len(r.encodePages()), len(r.encodeQueues()))
	if len(b) > MaxRootBytes/8 {
		t.Errorf("a root of %d bytes", len(b))
	}
	for _, queues := range []int{10, 1000} {
		if raceDetector && queues > 100 {
			continue
		}
		page, _ := encode(t, build(rng, shape{segments: MaxPageSegments, queues: queues, present: 1}))
		f, err := parseFooter(page, int64(len(page)))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d queues: a page of %d bytes: %.2f a run, directory %d, segments %d, index %d", queues, len(page), float64(f.dirPos)/float64(f.runs), f.segPos-f.dirPos,
			f.indexPos-f.segPos, f.indexLen)
		if per := float64(f.dirPos) / float64(f.runs); per > 8 {
			t.Errorf("%.1f bytes a run", per)
		}
	}
}
