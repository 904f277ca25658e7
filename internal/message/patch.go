package message

import (
	"encoding/binary"
	"net/netip"
)

// PatchQueueID writes the queue id in place.
func (v View) PatchQueueID(id int32) { binary.BigEndian.PutUint32(v[posQueueID:], uint32(id)) }

// PatchQueueOffset writes the offset in the queue in place.
func (v View) PatchQueueOffset(offset int64) {
	binary.BigEndian.PutUint64(v[posQueueOffset:], uint64(offset))
}

// PatchPhysicalOffset writes the physical offset in place.
func (v View) PatchPhysicalOffset(offset int64) {
	binary.BigEndian.PutUint64(v[posPhysicalOffset:], uint64(offset))
}

// PatchStoreTimestamp writes the broker's time, in milliseconds since 1970, in place.
func (v View) PatchStoreTimestamp(ms int64) {
	binary.BigEndian.PutUint64(v[v.storeTimestampPos():], uint64(ms))
}

// PatchStoreHost writes the broker's address in place. A host of another
// address family has another length: ErrHostFamily, use [AppendWithStoreHost].
func (v View) PatchStoreHost(host netip.AddrPort) error {
	b := v[v.storeHostPos():v.reconsumePos()]
	if hostSize(isV6(host)) != len(b) {
		return ErrHostFamily
	}
	appendHost(b[:0], host)
	return nil
}

// AppendWithStoreHost appends a copy of v with another store host, of either
// address family, to dst.
func AppendWithStoreHost(dst []byte, v View, host netip.AddrPort) []byte {
	start, v6 := len(dst), isV6(host)
	dst = append(dst, v[:v.storeHostPos()]...)
	dst = appendHost(dst, host)
	dst = append(dst, v[v.reconsumePos():]...)
	out := dst[start:]
	flag := v.SysFlag() &^ SysFlagStoreHostV6
	if v6 {
		flag |= SysFlagStoreHostV6
	}
	binary.BigEndian.PutUint32(out[posTotalSize:], uint32(len(out)))
	binary.BigEndian.PutUint32(out[posSysFlag:], uint32(flag))
	return dst
}
