// Package tiering owns sealed history. It has no code of its own: seal moves a shard's log into segments, coldread reads them back, maintain compacts them, lists
// them in the manifest and deletes what retention has passed; segment and manifest are the formats, catalog is what is listed, in memory, objstore the seam to
// object stores; guard, snapshot, restore and fsck are for when something was lost. docs/decisions/0008-sealing-and-fencing.md has the rules that hold them together.
package tiering
