package message

// Names of the properties that clients and brokers give a meaning.
const (
	// PropertyUniqKey is the id made by the producer; stable over resends, retries and the DLQ.
	PropertyUniqKey = "UNIQ_KEY"
	// PropertyKeys holds business keys, separated by spaces; each is indexed.
	PropertyKeys = "KEYS"
	// PropertyTags holds the message's tag.
	PropertyTags = "TAGS"
	// PropertyWait is "false" if the producer does not wait for the store.
	PropertyWait = "WAIT"
	// PropertyDelay is the delay level, 1 to 18.
	PropertyDelay = "DELAY"
	// PropertyTimerDelaySec asks for a delay in seconds.
	PropertyTimerDelaySec = "TIMER_DELAY_SEC"
	// PropertyTimerDelayMS asks for a delay in milliseconds.
	PropertyTimerDelayMS = "TIMER_DELAY_MS"
	// PropertyTimerDeliverMS asks for delivery at a time, in ms since 1970.
	PropertyTimerDeliverMS = "TIMER_DELIVER_MS"
	// PropertyTimerOutMS is the due time that the broker computed, in ms since 1970.
	PropertyTimerOutMS = "TIMER_OUT_MS"
	// PropertyTimerEnqueueMS is when the timer took the message, in ms since 1970.
	PropertyTimerEnqueueMS = "TIMER_ENQUEUE_MS"
	// PropertyTimerDequeueMS is when the timer released the message, in ms since 1970.
	PropertyTimerDequeueMS = "TIMER_DEQUEUE_MS"
	// PropertyTimerRollTimes counts the rounds of a long delay.
	PropertyTimerRollTimes = "TIMER_ROLL_TIMES"
	// PropertyTimerDelayLevel is the delay level of a message that went through the timer.
	PropertyTimerDelayLevel = "TIMER_DELAY_LEVEL"
	// PropertyTimerDelUniqKey names the timer message that this one cancels.
	PropertyTimerDelUniqKey = "TIMER_DEL_UNIQKEY"
	// PropertyRetryTopic is the original topic of a message in a retry or dead letter topic.
	PropertyRetryTopic = "RETRY_TOPIC"
	// PropertyRealTopic is the target topic of a message that waits elsewhere (delay, half).
	PropertyRealTopic = "REAL_TOPIC"
	// PropertyRealQueueID is the target queue of a message that waits elsewhere.
	PropertyRealQueueID = "REAL_QID"
	// PropertyOriginMessageID is the offset id of the first copy of a retried message.
	PropertyOriginMessageID = "ORIGIN_MESSAGE_ID"
	// PropertyReconsumeTime is the attempt count when the client itself resends to a retry topic.
	PropertyReconsumeTime = "RECONSUME_TIME"
	// PropertyMaxReconsumeTimes is the attempt limit when the client itself resends to a retry topic.
	PropertyMaxReconsumeTimes = "MAX_RECONSUME_TIMES"
	// PropertyDLQOriginTopic is the topic of a dead letter's origin.
	PropertyDLQOriginTopic = "DLQ_ORIGIN_TOPIC"
	// PropertyDLQOriginMessageID is the id of a dead letter's origin.
	PropertyDLQOriginMessageID = "DLQ_ORIGIN_MESSAGE_ID"
	// PropertyTransactionPrepared is "true" on a half message.
	PropertyTransactionPrepared = "TRAN_MSG"
	// PropertyProducerGroup is the group to ask for a transaction's outcome.
	PropertyProducerGroup = "PGROUP"
	// PropertyTransactionID is the transaction's id.
	PropertyTransactionID = "__transactionId__"
	// PropertyTransactionCheckTimes counts the checks of a half message.
	PropertyTransactionCheckTimes = "TRANSACTION_CHECK_TIMES"
	// PropertyCheckImmunityTime delays the first check of a half message, in seconds.
	PropertyCheckImmunityTime = "CHECK_IMMUNITY_TIME_IN_SECONDS"
	// PropertyTransactionPreparedOffset is the queue offset of the first half message of a transaction.
	PropertyTransactionPreparedOffset = "TRAN_PREPARED_QUEUE_OFFSET"
	// PropertyInnerNum is the number of messages in an inner batch.
	PropertyInnerNum = "INNER_NUM"
	// PropertyInnerBase is the base offset of an inner batch.
	PropertyInnerBase = "INNER_BASE"
	// PropertyShardingKey is the order key of Java and gRPC clients.
	PropertyShardingKey = "__SHARDINGKEY"
	// PropertyShardingKeyGo is the order key of the Go remoting client.
	PropertyShardingKeyGo = "SHARDING_KEY"
	// PropertyCorrelationID joins a request and its reply.
	PropertyCorrelationID = "CORRELATION_ID"
	// PropertyReplyToClient is the client id of the requester.
	PropertyReplyToClient = "REPLY_TO_CLIENT"
	// PropertyTTL is how long the requester waits, in ms.
	PropertyTTL = "TTL"
	// PropertyMessageType is "reply" on a reply.
	PropertyMessageType = "MSG_TYPE"
	// PropertyArriveTime is when a reply arrived at the broker, in ms since 1970.
	PropertyArriveTime = "ARRIVE_TIME"
	// PropertyPushReplyTime is when a reply was pushed, in ms since 1970.
	PropertyPushReplyTime = "PUSH_REPLY_TIME"
	// PropertyCluster is the cluster's name; request-reply needs it.
	PropertyCluster = "CLUSTER"
	// PropertyMinOffset and PropertyMaxOffset are added by the client at pull.
	PropertyMinOffset = "MIN_OFFSET"
	// PropertyMaxOffset is the counterpart of PropertyMinOffset.
	PropertyMaxOffset = "MAX_OFFSET"
	// PropertyMsgRegion is the broker's region.
	PropertyMsgRegion = "MSG_REGION"
	// PropertyTraceOn is "true" if the broker wants traces.
	PropertyTraceOn = "TRACE_ON"
	// PropertyConsumeStartTime is set in the client.
	PropertyConsumeStartTime = "CONSUME_START_TIME"
	// PropertyPopCK is the receipt of a popped message.
	PropertyPopCK = "POP_CK"
	// PropertyFirstPopTime is when a message was popped first.
	PropertyFirstPopTime = "1ST_POP_TIME"
	// PropertyInnerMultiDispatch lists the light queues a message is also put to.
	PropertyInnerMultiDispatch = "INNER_MULTI_DISPATCH"
	// PropertyInnerMultiQueueOffset lists the offsets of PropertyInnerMultiDispatch.
	PropertyInnerMultiQueueOffset = "INNER_MULTI_QUEUE_OFFSET"
	// PropertyCRC32 is the optional checksum of the whole message, last in the string.
	PropertyCRC32 = "__CRC32#"
	// PropertyTraceContext carries a tracing context of gRPC clients.
	PropertyTraceContext = "TRACE_CONTEXT"
	// PropertyBornHost is the producer's address as the proxy saw it.
	PropertyBornHost = "__BORNHOST"
	// PropertyBornTimestamp is the producer's time as the proxy saw it.
	PropertyBornTimestamp = "BORN_TIMESTAMP"
	// PropertyInstanceID is the namespace of the producer.
	PropertyInstanceID = "INSTANCE_ID"
	// PropertyBuyerID is reserved.
	PropertyBuyerID = "BUYER_ID"
	// PropertyTransferFlag is reserved.
	PropertyTransferFlag = "TRANSFER_FLAG"
	// PropertyCorrectionFlag is reserved.
	PropertyCorrectionFlag = "CORRECTION_FLAG"
	// PropertyMQ2Flag is reserved.
	PropertyMQ2Flag = "MQ2_FLAG"
	// PropertyExtendUniqInfo is reserved.
	PropertyExtendUniqInfo = "EXTEND_UNIQ_INFO"
	// PropertyDupInfo is reserved.
	PropertyDupInfo = "DUP_INFO"
)
