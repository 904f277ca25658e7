package remoting

// Protocol versions: the ordinals of RocketMQ's releases.
const (
	// Version349 is 3.4.9: from it on SEND_MSG_BACK's maxReconsumeTimes counts.
	Version349 int32 = 121
	// Version410Snapshot is 4.1.0-SNAPSHOT: Java clients use SQL92 only with brokers from it on.
	Version410Snapshot int32 = 232
	// Version494 is 4.9.4: from it on Java clients read standard JSON routes without asking.
	Version494 int32 = 401
	// Version531 is 5.3.1: only clients beyond it understand RespGoAway.
	Version531 int32 = 475
	// Version533 is 5.3.3.
	Version533 int32 = 479
	// CurrentVersion is the version we answer with.
	CurrentVersion = Version533
)
