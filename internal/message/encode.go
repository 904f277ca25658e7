package message

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Fields is what a stored message is made of. Properties is a raw property
// string; see [AppendProperty].
type Fields struct {
	Topic                     string
	QueueID                   int32
	Flag                      int32 // of the user
	SysFlag                   int32 // its IPv6 bits are set from the hosts
	QueueOffset               int64
	PhysicalOffset            int64
	BornTimestamp             int64          // ms since 1970
	BornHost                  netip.AddrPort // the zero value is stored as 0.0.0.0:0
	StoreTimestamp            int64          // ms since 1970
	StoreHost                 netip.AddrPort // the zero value is stored as 0.0.0.0:0
	ReconsumeTimes            int32
	PreparedTransactionOffset int64
	Body                      []byte // as stored, compressed if SysFlag says so
	Properties                []byte
}

// Validate reports ErrTooLarge if a field does not fit the layout. It checks
// lengths only: see [ValidateTopic] for names and [ValidateProperties].
func (m *Fields) Validate() error {
	switch {
	case len(m.Topic) > MaxTopicV2:
		return fmt.Errorf("topic of %d bytes: %w", len(m.Topic), ErrTooLarge)
	case len(m.Properties) > MaxProperties:
		return fmt.Errorf("properties of %d bytes: %w", len(m.Properties), ErrTooLarge)
	case len(m.Body) > MaxBody:
		return fmt.Errorf("body of %d bytes: %w", len(m.Body), ErrTooLarge)
	}
	return nil
}

// Size returns the number of bytes that Append adds.
func Size(m *Fields) int {
	n := fixedSize + hostSize(isV6(m.BornHost)) + hostSize(isV6(m.StoreHost))
	return n + len(m.Body) + topicSize(m.Topic) + 2 + len(m.Properties)
}

// Append appends the stored form of m to dst. It writes V1 unless the topic
// needs V2. It does not allocate if dst has room. Fields that fail Validate
// would make a corrupt record: then dst is returned as it was.
func Append(dst []byte, m *Fields) []byte {
	if m.Validate() != nil {
		return dst
	}
	dst = appendPrefix(dst, m, Size(m), m.Flag, m.Body)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Properties)))
	return append(dst, m.Properties...)
}

// appendPrefix writes everything before the length of the properties.
func appendPrefix(dst []byte, m *Fields, size int, flag int32, body []byte) []byte {
	be := binary.BigEndian
	magic := MagicV1
	if len(m.Topic) > MaxTopicV1 {
		magic = MagicV2
	}
	dst = be.AppendUint32(dst, uint32(size))
	dst = be.AppendUint32(dst, magic)
	dst = be.AppendUint32(dst, BodyCRC(body))
	dst = be.AppendUint32(dst, uint32(m.QueueID))
	dst = be.AppendUint32(dst, uint32(flag))
	dst = be.AppendUint64(dst, uint64(m.QueueOffset))
	dst = be.AppendUint64(dst, uint64(m.PhysicalOffset))
	dst = be.AppendUint32(dst, uint32(m.storedSysFlag()))
	dst = be.AppendUint64(dst, uint64(m.BornTimestamp))
	dst = appendHost(dst, m.BornHost)
	dst = be.AppendUint64(dst, uint64(m.StoreTimestamp))
	dst = appendHost(dst, m.StoreHost)
	dst = be.AppendUint32(dst, uint32(m.ReconsumeTimes))
	dst = be.AppendUint64(dst, uint64(m.PreparedTransactionOffset))
	dst = be.AppendUint32(dst, uint32(len(body)))
	dst = append(dst, body...)
	if magic == MagicV2 {
		dst = be.AppendUint16(dst, uint16(len(m.Topic)))
	} else {
		dst = append(dst, byte(len(m.Topic)))
	}
	return append(dst, m.Topic...)
}

// storedSysFlag returns the system flag with the bits of the address families.
func (m *Fields) storedSysFlag() int32 {
	f := m.SysFlag &^ (SysFlagBornHostV6 | SysFlagStoreHostV6)
	if isV6(m.BornHost) {
		f |= SysFlagBornHostV6
	}
	if isV6(m.StoreHost) {
		f |= SysFlagStoreHostV6
	}
	return f
}

func topicSize(topic string) int {
	if len(topic) > MaxTopicV1 {
		return 2 + len(topic)
	}
	return 1 + len(topic)
}

// isV6 reports whether a host is stored with 16 address bytes.
func isV6(host netip.AddrPort) bool { return host.Addr().Is6() && !host.Addr().Is4In6() }

// appendHost appends the address and the port of a host.
func appendHost(dst []byte, host netip.AddrPort) []byte {
	if isV6(host) {
		a := host.Addr().As16()
		dst = append(dst, a[:]...)
	} else {
		var a [4]byte
		if host.Addr().IsValid() {
			a = host.Addr().Unmap().As4()
		}
		dst = append(dst, a[:]...)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(host.Port()))
}
