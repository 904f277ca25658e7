package metadata

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The names in keys, under KeyRoot + <cluster> + "/". They are part of the format: docs/format/metadata.md.
const (
	KeyRoot       = "/varve/"
	KeyClusterID  = "cluster-id"
	KeyOrdinals   = "ordinals"
	KeyBrokers    = "brokers/"
	KeyShards     = "shards/"
	KeyLive       = "live"
	KeyTopics     = "topics/"
	KeyTombstones = "tombstones/"
	KeyGroups     = "groups/"
	KeyOffsets    = "offsets/"
	KeyTrims      = "trims/"
	// Those below shards/<shard>/.
	KeyHead     = "head"
	KeyManifest = "manifest"
	KeySegments = "segments/"
	KeyUploads  = "uploads/"
	KeyGarbage  = "garbage/"
)

// keys builds the keys of one cluster.
type keys struct{ root string }

func newKeys(cluster string) keys { return keys{root: KeyRoot + EscapeName(cluster) + "/"} }

func (k keys) clusterID() string        { return k.root + KeyClusterID }
func (k keys) ordinals() string         { return k.root + KeyOrdinals }
func (k keys) broker(id string) string  { return k.root + KeyBrokers + EscapeName(id) }
func (k keys) shards() string           { return k.root + KeyShards }
func (k keys) shard(id string) string   { return k.root + KeyShards + EscapeName(id) }
func (k keys) live(shard string) string { return k.shard(shard) + "/" + KeyLive }
func (k keys) topics() string           { return k.root + KeyTopics }
func (k keys) topic(name string) string { return k.root + KeyTopics + EscapeName(name) }
func (k keys) groups() string           { return k.root + KeyGroups }
func (k keys) group(name string) string { return k.root + KeyGroups + EscapeName(name) }
func (k keys) tombstones() string       { return k.root + KeyTombstones }
func (k keys) tombstone(inc uint64) string {
	return fmt.Sprintf("%s%s%016x", k.root, KeyTombstones, inc)
}

func (k keys) offsets(shard string) string     { return k.root + KeyOffsets + EscapeName(shard) + "/" }
func (k keys) groupOffsets(s, g string) string { return k.offsets(s) + EscapeName(g) + "/" }

func (k keys) chunk(shard, group string, chunk uint32) string {
	return fmt.Sprintf("%s%04x", k.groupOffsets(shard, group), chunk)
}

// parseChunk splits a key under offsets(shard) into its group and chunk.
func (k keys) parseChunk(shard, key string) (group string, chunk uint32, err error) {
	rest, ok := strings.CutPrefix(key, k.offsets(shard))
	esc, hex, ok2 := strings.Cut(rest, "/")
	if !ok || !ok2 {
		return "", 0, fmt.Errorf("key %q: %w", key, ErrCorrupt)
	}
	group, err = UnescapeName(esc)
	if err != nil {
		return "", 0, fmt.Errorf("key %q: %w", key, err)
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || n > MaxOrdinal>>ChunkBits {
		return "", 0, fmt.Errorf("key %q: %w", key, ErrCorrupt)
	}
	return group, uint32(n), nil
}

// below is the prefix of a shard's own keys.
func (k keys) below(shard string) string    { return k.shard(shard) + "/" }
func (k keys) head(shard string) string     { return k.below(shard) + KeyHead }
func (k keys) manifest(shard string) string { return k.below(shard) + KeyManifest }
func (k keys) segment(shard string, object uint64) string {
	return fmt.Sprintf("%s%s%016x", k.below(shard), KeySegments, object)
}

func (k keys) upload(shard string, object uint64) string {
	return fmt.Sprintf("%s%s%016x", k.below(shard), KeyUploads, object)
}

func (k keys) garbage(shard string, object uint64) string {
	return fmt.Sprintf("%s%s%016x", k.below(shard), KeyGarbage, object)
}

func (k keys) trims(shard string) string { return k.root + KeyTrims + EscapeName(shard) + "/" }
func (k keys) trimChunk(shard string, chunk uint32) string {
	return fmt.Sprintf("%s%04x", k.trims(shard), chunk)
}

// parseTrimChunk returns the chunk of a key under trims(shard).
func (k keys) parseTrimChunk(shard, key string) (uint32, error) {
	hex, ok := strings.CutPrefix(key, k.trims(shard))
	n, err := strconv.ParseUint(hex, 16, 32)
	if !ok || err != nil || n > MaxOrdinal>>ChunkBits || k.trimChunk(shard, uint32(n)) != key {
		return 0, fmt.Errorf("key %q: %w", key, ErrCorrupt)
	}
	return uint32(n), nil
}

const hexDigits = "0123456789ABCDEF"

// plainByte reports whether a byte stands for itself in a key.
func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '%' || c == '|' || c == '.'
}

// EscapeName makes a name safe as one part of a key: bytes other than [%|a-zA-Z0-9_.-] become ~XX. RocketMQ's topic and group names stay as they are.
func EscapeName(name string) string {
	i := 0
	for i < len(name) && plainByte(name[i]) {
		i++
	}
	if i == len(name) {
		return name
	}
	b := append(make([]byte, 0, len(name)+8), name[:i]...)
	for ; i < len(name); i++ {
		if c := name[i]; plainByte(c) {
			b = append(b, c)
		} else {
			b = append(b, '~', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(b)
}

// UnescapeName is the inverse of [EscapeName]; it returns [ErrCorrupt] for anything that EscapeName does not produce.
func UnescapeName(part string) (string, error) {
	b := make([]byte, 0, len(part))
	for i := 0; i < len(part); i++ {
		c := part[i]
		if c == '~' && i+2 < len(part) {
			hi, lo := strings.IndexByte(hexDigits, part[i+1]), strings.IndexByte(hexDigits, part[i+2])
			if hi < 0 || lo < 0 || plainByte(byte(hi<<4|lo)) {
				return "", fmt.Errorf("escaped name %q: %w", part, ErrCorrupt)
			}
			b = append(b, byte(hi<<4|lo))
			i += 2
			continue
		}
		if !plainByte(c) {
			return "", fmt.Errorf("escaped name %q: %w", part, ErrCorrupt)
		}
		b = append(b, c)
	}
	return string(b), nil
}

// ValidateName reports why a name cannot be that of a topic, group, shard, broker or cluster, wrapping [ErrInvalid].
func ValidateName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty name", ErrInvalid)
	case len(name) > MaxNameBytes:
		return fmt.Errorf("%w: name of %d bytes exceeds %d", ErrInvalid, len(name), MaxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: name %q is not UTF-8", ErrInvalid, name)
	}
	return nil
}

// joinFaults makes one error of all faults of a thing, or nil.
func joinFaults(thing string, faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = errors.New(f)
	}
	return fmt.Errorf("%w: %s: %w", ErrInvalid, thing, errors.Join(errs...))
}
