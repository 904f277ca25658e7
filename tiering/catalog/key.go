package catalog

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/varvemq/varve/metadata"
)

// shardPrefix keeps the escaped name of a shard from beginning with a dot, which no part of a key may.
const shardPrefix = "s-"

// ObjectKey returns the key of an object in the bucket: "<hash>/<shard>/<epoch>-<object>.<kind>", the numbers as 16 hex digits. The hash, 4 hex digits of the xxHash64 of what
// follows it, spreads a shard's objects over prefixes, for which stores have rates of requests. The shard is "s-" and its escaped name (metadata.EscapeName).
func ObjectKey(shard string, epoch, object uint64, kind string) string {
	rest := fmt.Sprintf("%s%s/%016x-%016x.%s", shardPrefix, metadata.EscapeName(shard), epoch, object, kind)
	return fmt.Sprintf("%04x/%s", xxhash.Sum64String(rest)>>48, rest)
}

// ParsedKey is what an object's key says.
type ParsedKey struct {
	Shard         string
	Epoch, Object uint64
	Kind          string
}

// ParseObjectKey is the inverse of [ObjectKey]: it returns false for every key that ObjectKey does not make.
func ParseObjectKey(key string) (ParsedKey, bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 {
		return ParsedKey{}, false
	}
	escaped, ok := strings.CutPrefix(parts[1], shardPrefix)
	numbers, kind, dot := strings.Cut(parts[2], ".")
	epoch, object, dash := strings.Cut(numbers, "-")
	if !ok || !dot || !dash {
		return ParsedKey{}, false
	}
	var k ParsedKey
	var errs [3]error
	k.Kind = kind
	k.Shard, errs[0] = metadata.UnescapeName(escaped)
	k.Epoch, errs[1] = strconv.ParseUint(epoch, 16, 64)
	k.Object, errs[2] = strconv.ParseUint(object, 16, 64)
	if errs != [3]error{} || ObjectKey(k.Shard, k.Epoch, k.Object, kind) != key {
		return ParsedKey{}, false
	}
	return k, true
}
