package crashtest

import "testing"

// TestKill kills a broker under load, in every mode of operation. (Guarantees 1, 2, 3 and 6.)
func TestKill(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]mode{
		"os sync":        {program: "varve", flush: "sync", queues: 4, workers: 16},
		"os async":       {program: "varve", flush: "async", queues: 4, workers: 16},
		"powercut sync":  {program: "varve-powercut", flush: "sync", queues: 4, workers: 16, rules: rules{noWaitMayVanish: true}},
		"powercut async": {program: "varve-powercut", flush: "async", queues: 4, workers: 16, rules: rules{tailMayVanish: true}},
		// What mode async has shown and lost keeps its offsets, whatever mode comes then.
		"powercut changing": {program: "varve-powercut", flush: "async", queues: 4, workers: 16, rules: rules{tailMayVanish: true, noWaitMayVanish: true}, changes: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCampaign(t, m)
			kills := number(t, envKills, 3)
			if m.changes {
				kills *= 2 // half of them in mode async
			}
			c.run(kills)
			if n := c.ledger.tally().vanished; n == 0 && m.rules.tailMayVanish {
				t.Error("no acknowledged message was ever lost: these power cuts cut nothing, and the other mode shows nothing either")
			}
		})
	}
}

// TestVisible cuts the power of a broker while 64 producers send to one queue and a reader is at its end: what the reader
// has seen is there afterwards. (Guarantee 3.)
func TestVisible(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, mode{program: "varve-powercut", flush: "sync", queues: 1, workers: 64, rules: rules{noWaitMayVanish: true}})
	c.run(number(t, envKills, 3))
}

// TestStop stops a broker in order under load, where a power cut right after that would take all that is not synced: nothing
// that was acknowledged may be missing, in mode async either, and no offset. What was stored was answered.
func TestStop(t *testing.T) {
	t.Parallel()
	c := newCampaign(t, mode{program: "varve-powercut", flush: "async", queues: 4, workers: 16, orderly: true})
	c.run(max(2, number(t, envKills, 3)/4))
	if n := c.ledger.tally().unknownStored; n > 0 {
		t.Errorf("%d messages were stored by brokers that ended in order and did not answer", n)
	}
}
