package message

import (
	"bytes"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add(golden(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			v, rest, err := Next(b)
			if err != nil {
				return
			}
			m := v.Fields()
			v.TagHash()
			again, err := Parse(Append(nil, &m))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.Body(), v.Body()) || !bytes.Equal(again.Topic(), v.Topic()) || !bytes.Equal(again.Properties(), v.Properties()) {
				t.Fatalf("%x became %x", []byte(v), []byte(again))
			}
			b = rest
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte("TAGS\x01a\x02KEYS\x01k1 k2\x02"), "TAGS", "b")
	f.Fuzz(func(t *testing.T, raw []byte, name, value string) {
		last := map[string]string{}
		for n, v := range EachProperty(raw) {
			last[string(n)] = string(v)
		}
		for n, want := range last {
			if got, ok := Property(raw, n); !ok || string(got) != want {
				t.Fatalf("%q: %q, want %q", n, got, want)
			}
		}
		if ValidateProperty(name, value) != nil {
			return
		}
		set := SetProperty(nil, raw, name, value)
		if got, ok := Property(set, name); !ok || string(got) != value {
			t.Fatalf("set %q: %q", name, got)
		}
		if _, ok := Property(RemoveProperties(nil, set, name), name); ok {
			t.Fatalf("%q is still there", name)
		}
	})
}

func FuzzBatch(f *testing.F) {
	f.Add(batchOf(2, 10))
	f.Fuzz(func(t *testing.T, batch []byte) {
		shared := goldenFields()
		out, n, err := ExplodeBatch(nil, &shared, batch, testIDs())
		if err != nil {
			return
		}
		for range n {
			_, rest, err := Next(out)
			if err != nil {
				t.Fatal(err)
			}
			out = rest
		}
		if len(out) != 0 {
			t.Fatal("bytes left")
		}
	})
}

func FuzzIDs(f *testing.F) {
	f.Add("0A00000100002A9F0000000000000102")
	f.Fuzz(func(t *testing.T, id string) {
		host, offset, err := ParseOffsetID(id)
		if err != nil {
			return
		}
		again, off, err := ParseOffsetID(OffsetID(host, offset))
		if err != nil || off != offset || again.Port() != host.Port() || again.Addr().Unmap() != host.Addr().Unmap() {
			t.Fatalf("%s: %v %d %v", id, again, off, err)
		}
	})
}
