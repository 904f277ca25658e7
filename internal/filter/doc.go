// Package filter decides which messages a subscription wants. It knows tag
// expressions; SQL92 expressions are to come. Parsed expressions are immutable
// and safe for concurrent use.
//
// A broker filters by the hash of the tag, which is cheap and may pass too
// much; a client compares the tags themselves.
package filter
