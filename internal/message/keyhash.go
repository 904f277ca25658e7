package message

import "github.com/cespare/xxhash/v2"

// KeyHash returns the 64-bit hash under which a key of a topic is indexed:
// xxHash64 with seed 0 of topic, '#', key. It is stored in segments, so it must
// never change. A 32-bit index takes the upper half. It allocates only if topic
// and key together exceed 255 bytes.
func KeyHash[T, K string | []byte](topic T, key K) uint64 {
	var buf [256]byte
	b := append(buf[:0], topic...)
	b = append(b, '#')
	b = append(b, key...)
	return xxhash.Sum64(b)
}

// EachKey calls f with every key in the value of KEYS, which are separated by
// spaces. The keys alias keys.
func EachKey(keys []byte, f func(key []byte)) {
	for i := 0; i < len(keys); {
		if keys[i] == ' ' {
			i++
			continue
		}
		j := i
		for j < len(keys) && keys[j] != ' ' {
			j++
		}
		f(keys[i:j:j])
		i = j
	}
}
