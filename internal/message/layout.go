package message

// Magic numbers of the layout versions.
const (
	// MagicV1 marks a message whose topic length is one byte.
	MagicV1 uint32 = 0xDAA320A7
	// MagicV2 marks a message whose topic length is two bytes. Go clients misread it.
	MagicV2 uint32 = 0xDAA320AB
	// MagicBlank marks the filler at the end of a RocketMQ commit log file. It is not a message.
	MagicBlank uint32 = 0xCBD43194
)

// Positions of the fields that do not depend on the address families.
const (
	posTotalSize      = 0
	posMagic          = 4
	posBodyCRC        = 8
	posQueueID        = 12
	posFlag           = 16
	posQueueOffset    = 20
	posPhysicalOffset = 28
	posSysFlag        = 36
	posBornTimestamp  = 40
	posBornHost       = 48
)

const (
	hostSizeV4 = 4 + 4
	hostSizeV6 = 16 + 4
	// fixedSize is everything before the body bytes except the two hosts.
	fixedSize = posBornHost + 8 + 4 + 8 + 4
)

// Limits of the layout and of the protocol.
const (
	// MinSize is the length of the smallest V1 message: IPv4 hosts, no body, no topic, no properties.
	MinSize = fixedSize + 2*hostSizeV4 + 1 + 2
	// MaxTopicV1 is the longest topic, in bytes, that the V1 layout holds.
	MaxTopicV1 = 127
	// MaxTopicV2 is the longest topic, in bytes, that the V2 layout holds.
	MaxTopicV2 = 32767
	// MaxProperties is the longest property string, in bytes, that the layout holds.
	MaxProperties = 32767
	// MaxBody bounds the body so that a message fits a frame of 16 MiB. Brokers set a smaller limit (4 MiB by default).
	MaxBody = 16<<20 - 128<<10
)

// Bits of the system flag.
const (
	// SysFlagCompressed says that the body is compressed; the type is in SysFlagCompressionMask.
	SysFlagCompressed int32 = 1 << 0
	// SysFlagMultiTags says that TAGS holds several tags. Unused by known clients.
	SysFlagMultiTags int32 = 1 << 1
	// SysFlagTransactionPrepared marks a half message.
	SysFlagTransactionPrepared int32 = 1 << 2
	// SysFlagTransactionCommit marks a committed message, and a commit in END_TRANSACTION.
	SysFlagTransactionCommit int32 = 2 << 2
	// SysFlagTransactionRollback marks a rollback; it is also the mask of the transaction bits.
	SysFlagTransactionRollback int32 = 3 << 2
	// SysFlagBornHostV6 says that the born host is an IPv6 address.
	SysFlagBornHostV6 int32 = 1 << 4
	// SysFlagStoreHostV6 says that the store host is an IPv6 address.
	SysFlagStoreHostV6 int32 = 1 << 5
	// SysFlagNeedUnwrap marks a batch that the reader has to unwrap.
	SysFlagNeedUnwrap int32 = 1 << 6
	// SysFlagInnerBatch marks a batch stored as one message.
	SysFlagInnerBatch int32 = 1 << 7
	// SysFlagCompressionMask covers the compression type; zero means zlib, as old clients send it.
	SysFlagCompressionMask int32 = 7 << 8
	// SysFlagCompressionLZ4 is the LZ4 compression type.
	SysFlagCompressionLZ4 int32 = 1 << 8
	// SysFlagCompressionZSTD is the Zstandard compression type.
	SysFlagCompressionZSTD int32 = 2 << 8
	// SysFlagCompressionZLIB is the zlib compression type.
	SysFlagCompressionZLIB int32 = 3 << 8
)

// TransactionType returns the transaction bits of a system flag:
// zero, SysFlagTransactionPrepared, SysFlagTransactionCommit or SysFlagTransactionRollback.
func TransactionType(sysFlag int32) int32 { return sysFlag & SysFlagTransactionRollback }

// WithTransactionType returns sysFlag with its transaction bits replaced by typ.
func WithTransactionType(sysFlag, typ int32) int32 {
	return sysFlag&^SysFlagTransactionRollback | typ&SysFlagTransactionRollback
}

// hostSize returns the stored length of a host.
func hostSize(v6 bool) int {
	if v6 {
		return hostSizeV6
	}
	return hostSizeV4
}
