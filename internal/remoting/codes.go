package remoting

// Request codes carry RocketMQ's names, as a reader of its sources and logs knows them.

// Data plane, offsets, groups and configuration of a broker.
const (
	// ReqSendMessage is SEND_MESSAGE.
	ReqSendMessage int32 = 10
	// ReqPullMessage is PULL_MESSAGE.
	ReqPullMessage int32 = 11
	// ReqQueryMessage is QUERY_MESSAGE.
	ReqQueryMessage int32 = 12
	// ReqQueryBrokerOffset is QUERY_BROKER_OFFSET.
	ReqQueryBrokerOffset int32 = 13
	// ReqQueryConsumerOffset is QUERY_CONSUMER_OFFSET.
	ReqQueryConsumerOffset int32 = 14
	// ReqUpdateConsumerOffset is UPDATE_CONSUMER_OFFSET.
	ReqUpdateConsumerOffset int32 = 15
	// ReqUpdateAndCreateTopic is UPDATE_AND_CREATE_TOPIC.
	ReqUpdateAndCreateTopic int32 = 17
	// ReqUpdateAndCreateTopicList is UPDATE_AND_CREATE_TOPIC_LIST.
	ReqUpdateAndCreateTopicList int32 = 18
	// ReqGetAllTopicConfig is GET_ALL_TOPIC_CONFIG.
	ReqGetAllTopicConfig int32 = 21
	// ReqGetTopicConfigList is GET_TOPIC_CONFIG_LIST.
	ReqGetTopicConfigList int32 = 22
	// ReqGetTopicNameList is GET_TOPIC_NAME_LIST.
	ReqGetTopicNameList int32 = 23
	// ReqUpdateBrokerConfig is UPDATE_BROKER_CONFIG.
	ReqUpdateBrokerConfig int32 = 25
	// ReqGetBrokerConfig is GET_BROKER_CONFIG.
	ReqGetBrokerConfig int32 = 26
	// ReqTriggerDeleteFiles is TRIGGER_DELETE_FILES.
	ReqTriggerDeleteFiles int32 = 27
	// ReqGetBrokerRuntimeInfo is GET_BROKER_RUNTIME_INFO.
	ReqGetBrokerRuntimeInfo int32 = 28
	// ReqSearchOffsetByTimestamp is SEARCH_OFFSET_BY_TIMESTAMP.
	ReqSearchOffsetByTimestamp int32 = 29
	// ReqGetMaxOffset is GET_MAX_OFFSET.
	ReqGetMaxOffset int32 = 30
	// ReqGetMinOffset is GET_MIN_OFFSET.
	ReqGetMinOffset int32 = 31
	// ReqGetEarliestMsgStoreTime is GET_EARLIEST_MSG_STORETIME.
	ReqGetEarliestMsgStoreTime int32 = 32
	// ReqViewMessageByID is VIEW_MESSAGE_BY_ID.
	ReqViewMessageByID int32 = 33
	// ReqHeartbeat is HEART_BEAT.
	ReqHeartbeat int32 = 34
	// ReqUnregisterClient is UNREGISTER_CLIENT.
	ReqUnregisterClient int32 = 35
	// ReqConsumerSendMsgBack is CONSUMER_SEND_MSG_BACK.
	ReqConsumerSendMsgBack int32 = 36
	// ReqEndTransaction is END_TRANSACTION.
	ReqEndTransaction int32 = 37
	// ReqGetConsumerListByGroup is GET_CONSUMER_LIST_BY_GROUP.
	ReqGetConsumerListByGroup int32 = 38
	// ReqCheckTransactionState is CHECK_TRANSACTION_STATE.
	ReqCheckTransactionState int32 = 39
	// ReqNotifyConsumerIDsChanged is NOTIFY_CONSUMER_IDS_CHANGED.
	ReqNotifyConsumerIDsChanged int32 = 40
	// ReqLockBatchMQ is LOCK_BATCH_MQ.
	ReqLockBatchMQ int32 = 41
	// ReqUnlockBatchMQ is UNLOCK_BATCH_MQ.
	ReqUnlockBatchMQ int32 = 42
	// ReqGetAllConsumerOffset is GET_ALL_CONSUMER_OFFSET.
	ReqGetAllConsumerOffset int32 = 43
	// ReqGetAllDelayOffset is GET_ALL_DELAY_OFFSET.
	ReqGetAllDelayOffset int32 = 45
	// ReqCheckClientConfig is CHECK_CLIENT_CONFIG.
	ReqCheckClientConfig int32 = 46
	// ReqGetClientConfig is GET_CLIENT_CONFIG.
	ReqGetClientConfig int32 = 47
	// ReqGetTimerCheckPoint is GET_TIMER_CHECK_POINT.
	ReqGetTimerCheckPoint int32 = 60
	// ReqGetTimerMetrics is GET_TIMER_METRICS.
	ReqGetTimerMetrics int32 = 61
)

// Name server.
const (
	// ReqPutKVConfig is PUT_KV_CONFIG.
	ReqPutKVConfig int32 = 100
	// ReqGetKVConfig is GET_KV_CONFIG.
	ReqGetKVConfig int32 = 101
	// ReqDeleteKVConfig is DELETE_KV_CONFIG.
	ReqDeleteKVConfig int32 = 102
	// ReqRegisterBroker is REGISTER_BROKER.
	ReqRegisterBroker int32 = 103
	// ReqUnregisterBroker is UNREGISTER_BROKER.
	ReqUnregisterBroker int32 = 104
	// ReqGetRouteInfoByTopic is GET_ROUTEINFO_BY_TOPIC.
	ReqGetRouteInfoByTopic int32 = 105
	// ReqGetBrokerClusterInfo is GET_BROKER_CLUSTER_INFO.
	ReqGetBrokerClusterInfo int32 = 106
)

// Administration, and requests of newer clients.
const (
	// ReqUpdateAndCreateSubscriptionGroup is UPDATE_AND_CREATE_SUBSCRIPTIONGROUP.
	ReqUpdateAndCreateSubscriptionGroup int32 = 200
	// ReqGetAllSubscriptionGroupConfig is GET_ALL_SUBSCRIPTIONGROUP_CONFIG.
	ReqGetAllSubscriptionGroupConfig int32 = 201
	// ReqGetTopicStatsInfo is GET_TOPIC_STATS_INFO.
	ReqGetTopicStatsInfo int32 = 202
	// ReqGetConsumerConnectionList is GET_CONSUMER_CONNECTION_LIST.
	ReqGetConsumerConnectionList int32 = 203
	// ReqGetProducerConnectionList is GET_PRODUCER_CONNECTION_LIST.
	ReqGetProducerConnectionList int32 = 204
	// ReqWipeWritePermOfBroker is WIPE_WRITE_PERM_OF_BROKER.
	ReqWipeWritePermOfBroker int32 = 205
	// ReqGetAllTopicListFromNameserver is GET_ALL_TOPIC_LIST_FROM_NAMESERVER.
	ReqGetAllTopicListFromNameserver int32 = 206
	// ReqDeleteSubscriptionGroup is DELETE_SUBSCRIPTIONGROUP.
	ReqDeleteSubscriptionGroup int32 = 207
	// ReqGetConsumeStats is GET_CONSUME_STATS.
	ReqGetConsumeStats int32 = 208
	// ReqSuspendConsumer is SUSPEND_CONSUMER.
	ReqSuspendConsumer int32 = 209
	// ReqResumeConsumer is RESUME_CONSUMER.
	ReqResumeConsumer int32 = 210
	// ReqResetConsumerOffsetInConsumer is RESET_CONSUMER_OFFSET_IN_CONSUMER.
	ReqResetConsumerOffsetInConsumer int32 = 211
	// ReqResetConsumerOffsetInBroker is RESET_CONSUMER_OFFSET_IN_BROKER.
	ReqResetConsumerOffsetInBroker int32 = 212
	// ReqAdjustConsumerThreadPool is ADJUST_CONSUMER_THREAD_POOL.
	ReqAdjustConsumerThreadPool int32 = 213
	// ReqWhoConsumeTheMessage is WHO_CONSUME_THE_MESSAGE.
	ReqWhoConsumeTheMessage int32 = 214
	// ReqDeleteTopicInBroker is DELETE_TOPIC_IN_BROKER.
	ReqDeleteTopicInBroker int32 = 215
	// ReqDeleteTopicInNamesrv is DELETE_TOPIC_IN_NAMESRV.
	ReqDeleteTopicInNamesrv int32 = 216
	// ReqRegisterTopicInNamesrv is REGISTER_TOPIC_IN_NAMESRV.
	ReqRegisterTopicInNamesrv int32 = 217
	// ReqGetKVListByNamespace is GET_KVLIST_BY_NAMESPACE.
	ReqGetKVListByNamespace int32 = 219
	// ReqResetConsumerClientOffset is RESET_CONSUMER_CLIENT_OFFSET.
	ReqResetConsumerClientOffset int32 = 220
	// ReqGetConsumerStatusFromClient is GET_CONSUMER_STATUS_FROM_CLIENT.
	ReqGetConsumerStatusFromClient int32 = 221
	// ReqInvokeBrokerToResetOffset is INVOKE_BROKER_TO_RESET_OFFSET.
	ReqInvokeBrokerToResetOffset int32 = 222
	// ReqInvokeBrokerToGetConsumerStatus is INVOKE_BROKER_TO_GET_CONSUMER_STATUS.
	ReqInvokeBrokerToGetConsumerStatus int32 = 223
	// ReqGetTopicsByCluster is GET_TOPICS_BY_CLUSTER.
	ReqGetTopicsByCluster int32 = 224
	// ReqUpdateAndCreateSubscriptionGroupList is UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST.
	ReqUpdateAndCreateSubscriptionGroupList int32 = 225
	// ReqQueryTopicConsumeByWho is QUERY_TOPIC_CONSUME_BY_WHO.
	ReqQueryTopicConsumeByWho int32 = 300
	// ReqRegisterFilterServer is REGISTER_FILTER_SERVER.
	ReqRegisterFilterServer int32 = 301
	// ReqRegisterMessageFilterClass is REGISTER_MESSAGE_FILTER_CLASS.
	ReqRegisterMessageFilterClass int32 = 302
	// ReqQueryConsumeTimeSpan is QUERY_CONSUME_TIME_SPAN.
	ReqQueryConsumeTimeSpan int32 = 303
	// ReqGetSystemTopicListFromNS is GET_SYSTEM_TOPIC_LIST_FROM_NS.
	ReqGetSystemTopicListFromNS int32 = 304
	// ReqGetSystemTopicListFromBroker is GET_SYSTEM_TOPIC_LIST_FROM_BROKER.
	ReqGetSystemTopicListFromBroker int32 = 305
	// ReqCleanExpiredConsumeQueue is CLEAN_EXPIRED_CONSUMEQUEUE.
	ReqCleanExpiredConsumeQueue int32 = 306
	// ReqGetConsumerRunningInfo is GET_CONSUMER_RUNNING_INFO.
	ReqGetConsumerRunningInfo int32 = 307
	// ReqQueryCorrectionOffset is QUERY_CORRECTION_OFFSET.
	ReqQueryCorrectionOffset int32 = 308
	// ReqConsumeMessageDirectly is CONSUME_MESSAGE_DIRECTLY.
	ReqConsumeMessageDirectly int32 = 309
	// ReqSendMessageV2 is SEND_MESSAGE_V2.
	ReqSendMessageV2 int32 = 310
	// ReqGetUnitTopicList is GET_UNIT_TOPIC_LIST.
	ReqGetUnitTopicList int32 = 311
	// ReqGetHasUnitSubTopicList is GET_HAS_UNIT_SUB_TOPIC_LIST.
	ReqGetHasUnitSubTopicList int32 = 312
	// ReqGetHasUnitSubUnunitTopicList is GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST.
	ReqGetHasUnitSubUnunitTopicList int32 = 313
	// ReqCloneGroupOffset is CLONE_GROUP_OFFSET.
	ReqCloneGroupOffset int32 = 314
	// ReqViewBrokerStatsData is VIEW_BROKER_STATS_DATA.
	ReqViewBrokerStatsData int32 = 315
	// ReqCleanUnusedTopic is CLEAN_UNUSED_TOPIC.
	ReqCleanUnusedTopic int32 = 316
	// ReqGetBrokerConsumeStats is GET_BROKER_CONSUME_STATS.
	ReqGetBrokerConsumeStats int32 = 317
	// ReqUpdateNamesrvConfig is UPDATE_NAMESRV_CONFIG.
	ReqUpdateNamesrvConfig int32 = 318
	// ReqGetNamesrvConfig is GET_NAMESRV_CONFIG.
	ReqGetNamesrvConfig int32 = 319
	// ReqSendBatchMessage is SEND_BATCH_MESSAGE.
	ReqSendBatchMessage int32 = 320
	// ReqQueryConsumeQueue is QUERY_CONSUME_QUEUE.
	ReqQueryConsumeQueue int32 = 321
	// ReqQueryDataVersion is QUERY_DATA_VERSION.
	ReqQueryDataVersion int32 = 322
	// ReqResumeCheckHalfMessage is RESUME_CHECK_HALF_MESSAGE.
	ReqResumeCheckHalfMessage int32 = 323
	// ReqSendReplyMessage is SEND_REPLY_MESSAGE.
	ReqSendReplyMessage int32 = 324
	// ReqSendReplyMessageV2 is SEND_REPLY_MESSAGE_V2.
	ReqSendReplyMessageV2 int32 = 325
	// ReqPushReplyMessageToClient is PUSH_REPLY_MESSAGE_TO_CLIENT.
	ReqPushReplyMessageToClient int32 = 326
	// ReqAddWritePermOfBroker is ADD_WRITE_PERM_OF_BROKER.
	ReqAddWritePermOfBroker int32 = 327
	// ReqGetAllProducerInfo is GET_ALL_PRODUCER_INFO.
	ReqGetAllProducerInfo int32 = 328
	// ReqDeleteExpiredCommitLog is DELETE_EXPIRED_COMMITLOG.
	ReqDeleteExpiredCommitLog int32 = 329
	// ReqQueryTopicsByConsumer is QUERY_TOPICS_BY_CONSUMER.
	ReqQueryTopicsByConsumer int32 = 343
	// ReqQuerySubscriptionByConsumer is QUERY_SUBSCRIPTION_BY_CONSUMER.
	ReqQuerySubscriptionByConsumer int32 = 345
	// ReqGetTopicConfig is GET_TOPIC_CONFIG.
	ReqGetTopicConfig int32 = 351
	// ReqGetSubscriptionGroupConfig is GET_SUBSCRIPTIONGROUP_CONFIG.
	ReqGetSubscriptionGroupConfig int32 = 352
	// ReqUpdateAndGetGroupForbidden is UPDATE_AND_GET_GROUP_FORBIDDEN.
	ReqUpdateAndGetGroupForbidden int32 = 353
	// ReqCheckRocksDBCQWriteProgress is CHECK_ROCKSDB_CQ_WRITE_PROGRESS.
	ReqCheckRocksDBCQWriteProgress int32 = 354
	// ReqExportRocksDBConfigToJSON is EXPORT_ROCKSDB_CONFIG_TO_JSON.
	ReqExportRocksDBConfigToJSON int32 = 355
	// ReqLitePullMessage is LITE_PULL_MESSAGE.
	ReqLitePullMessage int32 = 361
	// ReqRecallMessage is RECALL_MESSAGE.
	ReqRecallMessage int32 = 370
	// ReqQueryAssignment is QUERY_ASSIGNMENT.
	ReqQueryAssignment int32 = 400
	// ReqSetMessageRequestMode is SET_MESSAGE_REQUEST_MODE.
	ReqSetMessageRequestMode int32 = 401
	// ReqGetAllMessageRequestMode is GET_ALL_MESSAGE_REQUEST_MODE.
	ReqGetAllMessageRequestMode int32 = 402
	// ReqUpdateAndCreateStaticTopic is UPDATE_AND_CREATE_STATIC_TOPIC.
	ReqUpdateAndCreateStaticTopic int32 = 513
)

// High availability and controller of Apache RocketMQ; not served.
const (
	// ReqGetBrokerMemberGroup is GET_BROKER_MEMBER_GROUP.
	ReqGetBrokerMemberGroup int32 = 901
	// ReqAddBroker is ADD_BROKER.
	ReqAddBroker int32 = 902
	// ReqRemoveBroker is REMOVE_BROKER.
	ReqRemoveBroker int32 = 903
	// ReqBrokerHeartbeat is BROKER_HEARTBEAT.
	ReqBrokerHeartbeat int32 = 904
	// ReqNotifyMinBrokerIDChange is NOTIFY_MIN_BROKER_ID_CHANGE.
	ReqNotifyMinBrokerIDChange int32 = 905
	// ReqExchangeBrokerHAInfo is EXCHANGE_BROKER_HA_INFO.
	ReqExchangeBrokerHAInfo int32 = 906
	// ReqGetBrokerHAStatus is GET_BROKER_HA_STATUS.
	ReqGetBrokerHAStatus int32 = 907
	// ReqResetMasterFlushOffset is RESET_MASTER_FLUSH_OFFSET.
	ReqResetMasterFlushOffset int32 = 908
	// ReqControllerAlterSyncStateSet is CONTROLLER_ALTER_SYNC_STATE_SET.
	ReqControllerAlterSyncStateSet int32 = 1001
	// ReqControllerElectMaster is CONTROLLER_ELECT_MASTER.
	ReqControllerElectMaster int32 = 1002
	// ReqControllerRegisterBroker is CONTROLLER_REGISTER_BROKER.
	ReqControllerRegisterBroker int32 = 1003
	// ReqControllerGetReplicaInfo is CONTROLLER_GET_REPLICA_INFO.
	ReqControllerGetReplicaInfo int32 = 1004
	// ReqControllerGetMetadataInfo is CONTROLLER_GET_METADATA_INFO.
	ReqControllerGetMetadataInfo int32 = 1005
	// ReqControllerGetSyncStateData is CONTROLLER_GET_SYNC_STATE_DATA.
	ReqControllerGetSyncStateData int32 = 1006
	// ReqGetBrokerEpochCache is GET_BROKER_EPOCH_CACHE.
	ReqGetBrokerEpochCache int32 = 1007
	// ReqNotifyBrokerRoleChanged is NOTIFY_BROKER_ROLE_CHANGED.
	ReqNotifyBrokerRoleChanged int32 = 1008
	// ReqUpdateControllerConfig is UPDATE_CONTROLLER_CONFIG.
	ReqUpdateControllerConfig int32 = 1009
	// ReqGetControllerConfig is GET_CONTROLLER_CONFIG.
	ReqGetControllerConfig int32 = 1010
	// ReqCleanBrokerData is CLEAN_BROKER_DATA.
	ReqCleanBrokerData int32 = 1011
	// ReqControllerGetNextBrokerID is CONTROLLER_GET_NEXT_BROKER_ID.
	ReqControllerGetNextBrokerID int32 = 1012
	// ReqControllerApplyBrokerID is CONTROLLER_APPLY_BROKER_ID.
	ReqControllerApplyBrokerID int32 = 1013
)

// Cold data flow control.
const (
	// ReqUpdateColdDataFlowCtrConfig is UPDATE_COLD_DATA_FLOW_CTR_CONFIG.
	ReqUpdateColdDataFlowCtrConfig int32 = 2001
	// ReqRemoveColdDataFlowCtrConfig is REMOVE_COLD_DATA_FLOW_CTR_CONFIG.
	ReqRemoveColdDataFlowCtrConfig int32 = 2002
	// ReqGetColdDataFlowCtrInfo is GET_COLD_DATA_FLOW_CTR_INFO.
	ReqGetColdDataFlowCtrInfo int32 = 2003
	// ReqSetCommitLogReadMode is SET_COMMITLOG_READ_MODE.
	ReqSetCommitLogReadMode int32 = 2004
)

// Users and access control.
const (
	// ReqAuthCreateUser is AUTH_CREATE_USER.
	ReqAuthCreateUser int32 = 3001
	// ReqAuthUpdateUser is AUTH_UPDATE_USER.
	ReqAuthUpdateUser int32 = 3002
	// ReqAuthDeleteUser is AUTH_DELETE_USER.
	ReqAuthDeleteUser int32 = 3003
	// ReqAuthGetUser is AUTH_GET_USER.
	ReqAuthGetUser int32 = 3004
	// ReqAuthListUser is AUTH_LIST_USER.
	ReqAuthListUser int32 = 3005
	// ReqAuthCreateACL is AUTH_CREATE_ACL.
	ReqAuthCreateACL int32 = 3006
	// ReqAuthUpdateACL is AUTH_UPDATE_ACL.
	ReqAuthUpdateACL int32 = 3007
	// ReqAuthDeleteACL is AUTH_DELETE_ACL.
	ReqAuthDeleteACL int32 = 3008
	// ReqAuthGetACL is AUTH_GET_ACL.
	ReqAuthGetACL int32 = 3009
	// ReqAuthListACL is AUTH_LIST_ACL.
	ReqAuthListACL int32 = 3010
)

// POP consumption.
const (
	// ReqPopMessage is POP_MESSAGE.
	ReqPopMessage int32 = 200050
	// ReqAckMessage is ACK_MESSAGE.
	ReqAckMessage int32 = 200051
	// ReqPeekMessage is PEEK_MESSAGE.
	ReqPeekMessage int32 = 200052
	// ReqChangeMessageInvisibleTime is CHANGE_MESSAGE_INVISIBLETIME.
	ReqChangeMessageInvisibleTime int32 = 200053
	// ReqNotification is NOTIFICATION.
	ReqNotification int32 = 200054
	// ReqPollingInfo is POLLING_INFO.
	ReqPollingInfo int32 = 200055
	// ReqPopRollback is POP_ROLLBACK.
	ReqPopRollback int32 = 200056
	// ReqBatchAckMessage is BATCH_ACK_MESSAGE.
	ReqBatchAckMessage int32 = 200151
)

// Varve's own administration. The codes are outside RocketMQ's range.
const (
	// ReqVarveFirst is the first of Varve's own request codes.
	ReqVarveFirst int32 = 30000
	// ReqVarveLast is the last of Varve's own request codes.
	ReqVarveLast int32 = 30099

	// ReqSeal asks for everything that is durable to be sealed: ext "lsn" of an answer before, to ask how far it is; the answer is a SealProgress.
	ReqSeal int32 = 30000
	// ReqStorageStatus asks for a StorageStatus.
	ReqStorageStatus int32 = 30001
	// ReqListSegments asks for a SegmentList: ext "offset", "limit".
	ReqListSegments int32 = 30002
	// ReqInspectSegment asks for a SegmentDetail: ext "object".
	ReqInspectSegment int32 = 30003
	// ReqVerifySegment asks for a SegmentCheck: ext "object".
	ReqVerifySegment int32 = 30004
	// ReqFsck starts a check of the storage, or asks how far it is: ext "deep", "repair", "start"; the answer is a FsckStatus.
	ReqFsck int32 = 30005
)

// unwrapCode returns the request code that a code of the binary header, which
// has 16 bits, stands for: the POP family has numbers that do not fit.
func unwrapCode(code int32) int32 {
	switch wide := code + 3<<16; wide {
	case ReqPopMessage, ReqAckMessage, ReqPeekMessage, ReqChangeMessageInvisibleTime,
		ReqNotification, ReqPollingInfo, ReqPopRollback, ReqBatchAckMessage:
		return wide
	}
	return code
}
