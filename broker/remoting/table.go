package remoting

import (
	"context"

	wire "github.com/varvemq/varve/internal/remoting"
)

// table is the one place that says which request codes are served, and how. A code that is not in it is answered with 3.
func (s *Server) table() map[int32]handler {
	inline := func(h func(ctx context.Context, c *conn, req *wire.Command)) handler { return handler{inline: h} }
	slow := func(h func(ctx context.Context, c *conn, req *wire.Command) (*wire.Command, error)) handler {
		return handler{slow: h}
	}
	return map[int32]handler{
		// send.go, send_batch.go, pull.go
		wire.ReqSendMessage:      inline(s.sendMessage),
		wire.ReqSendMessageV2:    inline(s.sendMessage),
		wire.ReqSendBatchMessage: inline(s.sendBatch),
		wire.ReqPullMessage:      inline(s.pullMessage),
		wire.ReqLitePullMessage:  inline(s.pullMessage),

		// heartbeat.go, members.go, locks.go
		wire.ReqHeartbeat:              inline(s.heartbeat),
		wire.ReqUnregisterClient:       inline(answering(s.unregisterClient)),
		wire.ReqCheckClientConfig:      inline(answering(s.checkClientConfig)),
		wire.ReqGetConsumerListByGroup: inline(answering(s.consumerList)),
		wire.ReqLockBatchMQ:            inline(answering(s.lockQueues)),
		wire.ReqUnlockBatchMQ:          inline(answering(s.unlockQueues)),

		// offsets.go
		wire.ReqQueryConsumerOffset:     inline(answering(s.queryConsumerOffset)),
		wire.ReqUpdateConsumerOffset:    inline(answering(s.updateConsumerOffset)),
		wire.ReqGetMaxOffset:            inline(answering(s.maxOffset)),
		wire.ReqGetMinOffset:            inline(answering(s.minOffset)),
		wire.ReqSearchOffsetByTimestamp: slow(s.searchOffset),
		wire.ReqGetEarliestMsgStoreTime: slow(s.earliestStoreTime),

		// query.go, sendback.go
		wire.ReqQueryMessage:        slow(s.queryMessage),
		wire.ReqViewMessageByID:     slow(s.viewMessage),
		wire.ReqConsumerSendMsgBack: slow(s.sendMessageBack),

		// route.go, route_kv.go: the name server
		wire.ReqGetRouteInfoByTopic:           inline(answering(s.topicRoute)),
		wire.ReqGetBrokerClusterInfo:          slow(s.clusterInfo),
		wire.ReqGetAllTopicListFromNameserver: slow(s.topicList),
		wire.ReqGetTopicsByCluster:            slow(s.topicsByCluster),
		wire.ReqDeleteTopicInNamesrv:          slow(s.deleteTopicInNameServer),
		wire.ReqPutKVConfig:                   slow(s.putKVConfig),
		wire.ReqGetKVConfig:                   slow(s.getKVConfig),
		wire.ReqDeleteKVConfig:                slow(s.deleteKVConfig),

		// admin_topic.go, admin_topic_stats.go
		wire.ReqUpdateAndCreateTopic:   slow(s.updateTopic),
		wire.ReqDeleteTopicInBroker:    slow(s.deleteTopic),
		wire.ReqGetAllTopicConfig:      slow(s.allTopicConfig),
		wire.ReqGetTopicConfig:         slow(s.topicConfig),
		wire.ReqGetTopicStatsInfo:      slow(s.topicStats),
		wire.ReqQueryTopicConsumeByWho: slow(s.topicConsumers),

		// admin_group.go, admin_connections.go, admin_consume_stats.go, admin_reset.go
		wire.ReqUpdateAndCreateSubscriptionGroup:     slow(s.updateGroup),
		wire.ReqUpdateAndCreateSubscriptionGroupList: slow(s.updateGroups),
		wire.ReqGetAllSubscriptionGroupConfig:        slow(s.allGroupConfig),
		wire.ReqGetSubscriptionGroupConfig:           slow(s.groupConfig),
		wire.ReqDeleteSubscriptionGroup:              slow(s.deleteGroup),
		wire.ReqGetConsumerConnectionList:            slow(s.consumerConnections),
		wire.ReqGetProducerConnectionList:            slow(s.producerConnections),
		wire.ReqGetConsumeStats:                      slow(s.consumeStats),
		wire.ReqInvokeBrokerToResetOffset:            slow(s.resetOffset),

		// admin_broker.go
		wire.ReqGetBrokerRuntimeInfo: slow(s.runtimeInfo),
		wire.ReqGetBrokerConfig:      slow(s.brokerConfig),
	}
}

// storageTable has Varve's own requests about sealed history.
func (s *Server) storageTable() map[int32]handler {
	return map[int32]handler{ // storage.go
		wire.ReqSeal:           {slow: s.seal},
		wire.ReqStorageStatus:  {slow: s.storageStatus},
		wire.ReqListSegments:   {slow: s.listSegments},
		wire.ReqInspectSegment: {slow: s.inspectSegment},
		wire.ReqVerifySegment:  {slow: s.verifySegment},
		wire.ReqFsck:           {slow: s.fsck},
	}
}

// answering makes an inline handler of a function that returns its response. Like a slow handler's, a nil response means success.
func answering(serve func(c *conn, req *wire.Command) (*wire.Command, error)) func(context.Context, *conn, *wire.Command) {
	return func(_ context.Context, c *conn, req *wire.Command) {
		resp, err := serve(c, req)
		switch r := replyTo(req); {
		case err != nil:
			c.respondError(r, err)
		case resp == nil:
			c.respondStatus(r, wire.RespSuccess, "")
		default:
			c.respond(r, resp)
		}
	}
}

// bodyResponse is a successful response with a JSON body.
func bodyResponse(body any) (*wire.Command, error) {
	b, err := wire.EncodeBody(body)
	if err != nil {
		return nil, err
	}
	return &wire.Command{Code: wire.RespSuccess, Body: b}, nil
}
