package segment

import (
	"bytes"
	"errors"
	"testing"
)

// TestVerifyFinds: a writer gone wrong, all of whose crcs are right, is found out.
func TestVerifyFinds(t *testing.T) {
	t.Parallel()
	// A queue at a time reaches the index when the next one begins or at the end: lies are told before that.
	for name, tc := range map[string]struct {
		section string
		lie     func(w *Writer)
	}{
		"tag hash":         {SectionIndex, func(w *Writer) { w.entries[0].tags[0]++ }},
		"tags left out":    {SectionIndex, func(w *Writer) { w.entries[0].ntags-- }},
		"any tag":          {SectionIndex, func(w *Writer) { w.entries[0].ntags = tagsAny }},
		"store time":       {SectionBlock, func(w *Writer) { w.entries[0].MaxStore++ }},
		"raw length":       {SectionBlock, func(w *Writer) { w.entries[0].Raw++ }},
		"block size":       {SectionBlock, func(w *Writer) { w.entries[0].Size++ }},
		"block crc":        {SectionBlock, func(w *Writer) { w.entries[0].crc++ }},
		"count":            {SectionBlock, func(w *Writer) { w.entries[0].Count++ }},
		"block left out":   {SectionIndex, func(w *Writer) { w.entries = w.entries[:len(w.entries)-1] }},
		"end offset":       {SectionIndex, func(w *Writer) { w.next++ }},
		"first offset":     {SectionBlock, func(w *Writer) { w.first--; w.next-- }},
		"extent":           {SectionBlock, func(w *Writer) { w.queue.ExtentBase++ }},
		"key of another":   {SectionKeys, func(w *Writer) { w.keys[0] += 1 << 40 }},
		"key twice":        {SectionFooter, func(w *Writer) { w.keys = append(w.keys, w.keys[0]) }},
		"key left out":     {SectionFooter, func(w *Writer) { w.keys = w.keys[1:] }},
		"key mode":         {SectionFooter, func(w *Writer) { w.queue.Keys = KeysNone }},
		"messages counted": {SectionFooter, func(w *Writer) { w.foot.Messages++ }},
		"blocks counted":   {SectionFooter, func(w *Writer) { w.foot.Blocks++ }},
		"queues counted":   {SectionFooter, func(w *Writer) { w.foot.Queues++ }},
		"holes counted":    {SectionFooter, func(w *Writer) { w.foot.Holes++ }},
		"bytes counted":    {SectionFooter, func(w *Writer) { w.foot.RawBytes++ }},
		"lowest time":      {SectionFooter, func(w *Writer) { w.foot.MinStore-- }},
		"highest time":     {SectionFooter, func(w *Writer) { w.foot.MaxStore++ }},
		"keys left out":    {SectionFooter, func(w *Writer) { w.foot.KeysLeftOut++ }},
		"nothing":          {},
	} {
		var out bytes.Buffer
		w, err := NewWriter(&out, testConfig())
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range golden(t)[:1] {
			err = errors.Join(w.Queue(q.Queue, Fast), w.Append(q.pieces[0].base, 2, q.pieces[0].raw), w.flush(), w.Hole(102, 1000), w.Append(1102, 1, q.pieces[2].raw), w.flush())
		}
		if err != nil {
			t.Fatal(err)
		}
		if tc.lie != nil {
			tc.lie(w)
		}
		if _, err := w.Finish(); err != nil {
			t.Fatal(name, err)
		}
		r, err := Open(t.Context(), &memory{b: out.Bytes()}, int64(out.Len()), Expect{})
		if err == nil {
			err = Verify(t.Context(), r)
		}
		if tc.lie == nil {
			if err != nil {
				t.Errorf("nothing is wrong: %v", err)
			}
			continue
		}
		o := outcome{sections: make(map[string]int)}
		if j, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range j.Unwrap() {
				o.take(err)
			}
		} else {
			o.take(err)
		}
		if o.sections[tc.section] == 0 || o.other != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
