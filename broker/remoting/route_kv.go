package remoting

import (
	"context"

	wire "github.com/varvemq/varve/internal/remoting"
)

// orderNamespace is where mqadmin keeps the queues of ordered topics. We derive them from the topics, so that only this namespace is served, and writing to
// it does nothing; it is there because mqadmin's updateTopic -o and deleteTopic insist on it.
const orderNamespace = "ORDER_TOPIC_CONFIG"

func kvRequest(req *wire.Command) (key string, err error) {
	namespace, err := req.Ext.RequireString("namespace")
	if err != nil {
		return "", err
	}
	if key, err = req.Ext.RequireString("key"); err != nil {
		return "", err
	}
	if namespace != orderNamespace {
		return "", status(wire.RespRequestCodeNotSupported, "namespace %s is not supported, only %s is", namespace, orderNamespace)
	}
	return key, nil
}

// putKVConfig serves PUT_KV_CONFIG.
func (s *Server) putKVConfig(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	_, err := kvRequest(req)
	return nil, err
}

// getKVConfig serves GET_KV_CONFIG.
func (s *Server) getKVConfig(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	key, err := kvRequest(req)
	if err != nil {
		return nil, err
	}
	info, ok := s.topics.lookup([]byte(key))
	if !ok || !info.meta.Order {
		return nil, status(wire.RespQueryNotFound, "No config item, Namespace: %s Key: %s", orderNamespace, key)
	}
	resp := &wire.Command{Code: wire.RespSuccess}
	resp.Ext.Add("value", s.orderConf(info.meta))
	return resp, nil
}

// deleteKVConfig serves DELETE_KV_CONFIG.
func (s *Server) deleteKVConfig(_ context.Context, _ *conn, req *wire.Command) (*wire.Command, error) {
	_, err := kvRequest(req)
	return nil, err
}
