package message

import (
	"encoding/binary"
	"fmt"
	"time"
)

// batchItemSize is the length of an item without body and properties:
// total, magic, CRC, flag, body length, length of the properties.
const batchItemSize = 4 + 4 + 4 + 4 + 4 + 2

// BatchItem is one message of a batch body, as SEND_BATCH_MESSAGE carries it.
// Body and Properties alias the batch.
type BatchItem struct {
	Flag       int32
	Body       []byte
	Properties []byte
}

// NextBatchItem decodes the first item of a batch body and returns the bytes
// after it. Called with no bytes left it returns ErrTruncated.
func NextBatchItem(b []byte) (BatchItem, []byte, error) {
	be := binary.BigEndian
	if len(b) < batchItemSize {
		return BatchItem{}, nil, fmt.Errorf("batch item of %d bytes: %w", len(b), ErrTruncated)
	}
	total := int64(be.Uint32(b))
	if total > int64(len(b)) {
		return BatchItem{}, nil, fmt.Errorf("batch item of %d bytes in %d: %w", total, len(b), ErrTruncated)
	}
	if total < batchItemSize {
		return BatchItem{}, nil, fmt.Errorf("batch item of %d bytes: %w", total, ErrCorrupt)
	}
	item, rest := b[:total:total], b[total:]
	n := int64(int32(be.Uint32(item[16:])))
	if n < 0 || n > total-batchItemSize {
		return BatchItem{}, nil, fmt.Errorf("batch item body of %d bytes: %w", n, ErrCorrupt)
	}
	m := int64(be.Uint16(item[20+n:]))
	if m > MaxProperties || batchItemSize+n+m != total {
		return BatchItem{}, nil, fmt.Errorf("batch item properties of %d bytes: %w", m, ErrCorrupt)
	}
	return BatchItem{
		Flag:       int32(be.Uint32(item[12:])),
		Body:       item[20 : 20+n : 20+n],
		Properties: item[22+n:],
	}, rest, nil
}

// AppendBatchItem appends the encoded form of an item to a batch body. An item
// whose properties exceed MaxProperties or whose body exceeds MaxBody would be
// corrupt: then dst is returned as it was.
func AppendBatchItem(dst []byte, item *BatchItem) []byte {
	if len(item.Properties) > MaxProperties || len(item.Body) > MaxBody {
		return dst
	}
	be := binary.BigEndian
	dst = be.AppendUint32(dst, uint32(batchItemSize+len(item.Body)+len(item.Properties)))
	dst = be.AppendUint64(dst, 0)
	dst = be.AppendUint32(dst, uint32(item.Flag))
	dst = be.AppendUint32(dst, uint32(len(item.Body)))
	dst = append(dst, item.Body...)
	dst = be.AppendUint16(dst, uint16(len(item.Properties)))
	return append(dst, item.Properties...)
}

// ExplodeBatch turns a batch body into concatenated stored messages, appended
// to dst, in one pass. Topic, hosts, times, system flag and queue id come from
// shared, flag and body from each item. An item's properties are followed by
// shared.Properties, and by a new UNIQ_KEY if neither has one and ids is not
// nil. Queue and physical offsets are left as in shared, to be patched.
//
// It returns the extended dst and the number of messages. On an error dst is
// returned at its old length. An empty batch is ErrTruncated.
func ExplodeBatch(dst []byte, shared *Fields, batch []byte, ids *IDGenerator) ([]byte, int, error) {
	start, count := len(dst), 0
	probe := Fields{Topic: shared.Topic, Properties: shared.Properties}
	if err := probe.Validate(); err != nil {
		return dst, 0, err
	}
	if len(batch) == 0 {
		return dst, 0, fmt.Errorf("empty batch: %w", ErrTruncated)
	}
	_, sharedID := Property(shared.Properties, PropertyUniqKey)
	var now time.Time
	if ids != nil {
		now = time.UnixMilli(shared.StoreTimestamp)
	}
	for len(batch) > 0 {
		item, rest, err := NextBatchItem(batch)
		if err != nil {
			return dst[:start], 0, fmt.Errorf("item %d: %w", count, err)
		}
		batch = rest
		var gen *IDGenerator
		if ids != nil && !sharedID {
			if _, ok := Property(item.Properties, PropertyUniqKey); !ok {
				gen = ids
			}
		}
		if dst, err = appendItem(dst, shared, &item, gen, now); err != nil {
			return dst[:start], 0, fmt.Errorf("item %d: %w", count, err)
		}
		count++
	}
	return dst, count, nil
}

// appendItem appends one item as a stored message, with a new id if gen is not nil.
func appendItem(dst []byte, shared *Fields, item *BatchItem, gen *IDGenerator, now time.Time) ([]byte, error) {
	begin := len(dst)
	dst = appendPrefix(dst, shared, 0, item.Flag, item.Body)
	at := len(dst)
	dst = append(dst, 0, 0)
	dst = append(dst, item.Properties...)
	if len(shared.Properties) > 0 {
		dst = append(closeLast(dst, at+2), shared.Properties...)
	}
	if gen != nil {
		dst = closeLast(dst, at+2)
		dst = append(dst, PropertyUniqKey...)
		dst = append(dst, nameValueSeparator)
		dst = gen.Append(dst, now)
		dst = append(dst, propertySeparator)
	}
	n := len(dst) - at - 2
	if n > MaxProperties {
		return dst[:begin], fmt.Errorf("properties of %d bytes: %w", n, ErrTooLarge)
	}
	binary.BigEndian.PutUint16(dst[at:], uint16(n))
	binary.BigEndian.PutUint32(dst[begin:], uint32(len(dst)-begin))
	return dst, nil
}
