package metadata

import (
	"fmt"
	"time"
)

// Tail states of a shard.
const (
	TailClean = "clean"
	TailDirty = "dirty"
)

// Shard is the record of a shard's ownership. It is written when the shard is acquired and when it is released, and at no other time, so that its
// revision stands for its epoch.
type Shard struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Epoch uint64 `json:"epoch"`
	// WALUUID names the WAL that holds the tail.
	WALUUID string `json:"wal"`
	// Tail is [TailDirty] from the acquisition on and [TailClean] after a release with everything sealed.
	Tail string `json:"tail"`
	// AdvertisedAddr is the host:port clients reach the shard at.
	AdvertisedAddr string `json:"addr"`
	// Claim tells two claims of the same broker apart.
	Claim string `json:"claim"`
	// Released says that the owner gave the shard up in order.
	Released bool `json:"released,omitempty"`
	// Losses counts the dirty tails that were given up so far. LossBelow is above every ordinal there was at the last of them: of such a queue
	// offsets may have been used that nobody knows any more.
	Losses    uint32 `json:"losses,omitempty"`
	LossBelow uint32 `json:"loss_below,omitempty"`
	// Revision is the etcd revision of the record. It is not stored in the value.
	Revision int64 `json:"-"`
}

// ShardEvent is one change of a shard's ownership. Shard is nil when its record was removed, which nothing in Varve does.
type ShardEvent struct {
	ID       string
	Shard    *Shard
	Revision int64
}

// ShardClaim asks for the ownership of a shard.
type ShardClaim struct {
	Shard string
	// Broker is the id of the claiming broker; one [Store] claims for one broker.
	Broker string
	// WALUUID names the claimant's WAL. The claimant holds the lock of the directory that WAL is in.
	WALUUID string
	// ID is a uuid that names this claim. Default: a new one.
	ID string
	// Known are the claims that the WAL's directory remembers to have made. If there are any, a shard whose last claim by this WAL is none of them was acquired from
	// another copy of the directory: this one is older. Empty: not checked.
	Known []string
	// LeaseTTL is the life of the broker's lease. Default: [DefaultLeaseTTL]. The first claim of a store decides.
	LeaseTTL time.Duration
	// AcceptTailLoss takes a shard whose unsealed tail is in another WAL: what is only there is lost.
	AcceptTailLoss bool
	// Wait is how long to wait for the lease of an owner that seems to live, if the claim could be granted without it. Default: not at all.
	Wait time.Duration
	// AdvertisedAddr is the host:port clients reach the shard at.
	AdvertisedAddr string
	// LeaseExempt makes the ownership valid without keep-alives, until it is seen to be lost, and passes over the leases of others, who are
	// dead: for the embedded etcd, which no other broker can reach, and whose leases live as long again after each start.
	LeaseExempt bool
}

// Validate reports all faults at once, wrapping [ErrInvalid].
func (c ShardClaim) Validate() error {
	var faults []string
	for _, n := range []struct{ key, name string }{{"shard", c.Shard}, {"broker", c.Broker}, {"wal_uuid", c.WALUUID}} {
		if err := ValidateName(n.name); err != nil {
			faults = append(faults, n.key+": "+err.Error())
		}
	}
	if c.LeaseTTL < 0 {
		faults = append(faults, fmt.Sprintf("lease_ttl: %v is negative", c.LeaseTTL))
	}
	if c.Wait < 0 {
		faults = append(faults, fmt.Sprintf("wait: %v is negative", c.Wait))
	}
	return joinFaults("claim of shard "+c.Shard, faults)
}
