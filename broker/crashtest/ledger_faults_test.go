package crashtest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/client"
)

// TestLedgerFinds plants each fault that the ledger is there to find, and one history without any.
func TestLedgerFinds(t *testing.T) {
	t.Parallel()
	lostConn := &client.Error{Op: "send", Code: client.CodeNone, Err: errors.New("reset"), Unknown: true}
	ok := func(offset int64) []client.SendResult {
		return []client.SendResult{{Offset: offset}, {Offset: offset + 1}, {Offset: offset + 2}}
	}
	type script struct {
		*ledger

		at cursor
	}
	send := func(s *script, offset int64, err error) int {
		n, _ := s.begin(waiting, 0, 1)
		s.end(n, ok(offset), err)
		return n
	}
	read := func(s *script, offset int64, n int, ms int64) {
		s.observe(0, &s.at, &client.MessageExt{Offset: offset, Body: s.body(n), StoreTime: time.UnixMilli(ms)})
	}
	for _, tc := range []struct {
		name  string
		rules rules
		want  string
		run   func(s *script)
	}{
		{"nothing", rules{}, "", func(s *script) { read(s, 0, 0, 5); read(s, 1, 1, 5) }},
		{"acknowledged and lost", rules{}, "message 1 was acknowledged at offset 1", func(s *script) { read(s, 0, 0, 5) }},
		{"a gap", rules{}, "offsets 0 to 0 are missing", func(s *script) { read(s, 1, 1, 5) }},
		{"exchanged", rules{}, "message 1 was acknowledged at 1", func(s *script) { read(s, 0, 1, 5); read(s, 1, 0, 5) }},
		{"twice", rules{}, "is there twice", func(s *script) {
			n := send(s, 0, lostConn)
			read(s, 0, 0, 5)
			read(s, 1, 1, 5)
			read(s, 2, n, 5)
			read(s, 3, n, 5)
		}},
		{"never sent", rules{}, "a body that nobody sent", func(s *script) { read(s, 0, 0, 5); read(s, 1, 1, 5); read(s, 2, 2, 5) }},
		{"refused and stored", rules{}, "was refused and yet it is there", func(s *script) {
			n := send(s, 0, errors.New("refused"))
			read(s, 0, 0, 5)
			read(s, 1, 1, 5)
			read(s, 2, n, 5)
		}},
		{"may have happened", rules{}, "", func(s *script) {
			send(s, 0, lostConn)
			read(s, 0, 0, 5)
			read(s, 1, 1, 5)
			read(s, 2, send(s, 0, lostConn), 5)
		}},
		{"torn batch", rules{}, "torn", func(s *script) {
			n, _ := s.begin(waiting, 0, 3)
			s.end(n, nil, lostConn)
			read(s, 0, 0, 5)
			read(s, 1, 1, 5)
			read(s, 2, n, 5)
		}},
		{"store time falls", rules{}, "stored at 4, the one before at 5", func(s *script) { read(s, 0, 0, 5); read(s, 1, 1, 4) }},
		{"seen and gone", rules{noWaitMayVanish: true}, "it ends at 2, but offset 2 was read before", func(s *script) {
			n, _ := s.begin(noWait, 0, 1)
			s.end(n, ok(2), nil)
			read(s, 0, 0, 5)
			read(s, 1, 1, 5)
			read(s, 2, n, 5)
			s.at = cursor{}
			s.beginSweep()
			read(s, 0, 0, 5)
			read(s, 1, 1, 5)
		}},
		{"lost as allowed", rules{tailMayVanish: true}, "", func(s *script) { read(s, 0, 0, 5); s.endQueue(0, &s.at, 100) }},
		{"offset reused", rules{tailMayVanish: true}, "first message 1 was here", func(s *script) {
			read(s, 0, 0, 5)
			read(s, 1, 1, 5)
			n := send(s, 1, lostConn)
			s.beginSweep()
			s.at = cursor{}
			read(s, 0, 0, 5)
			read(s, 1, n, 5)
		}},
		{"lost, not seen, offset reused", rules{tailMayVanish: true}, "message 1 was acknowledged at offset 1", func(s *script) {
			read(s, 0, 0, 5)
			read(s, 1, send(s, 1, lostConn), 5)
		}},
		{"message in a hole", rules{tailMayVanish: true}, "is in a hole", func(s *script) {
			read(s, 0, 0, 5)
			s.endQueue(0, &s.at, 100)
			s.at = cursor{next: 2}
			read(s, 2, send(s, 2, nil), 5)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := &script{ledger: newLedger(1, 1, tc.rules)}
			send(s, 0, nil)
			send(s, 1, nil)
			s.beginSweep()
			tc.run(s)
			s.endQueue(0, &s.at, s.at.next)
			s.check(0)
			got := strings.Join(s.found(), "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("found %q, want %q", got, tc.want)
			}
		})
	}
}
