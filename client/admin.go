package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/varvemq/varve/internal/remoting"
)

// Admin manages topics, groups and offsets, and looks up messages. Make it with [NewAdmin].
type Admin struct{ core *core }

// NewAdmin returns an admin. It dials nothing. The error joins all faults in the options.
func NewAdmin(opts ...Option) (*Admin, error) {
	cfg, err := newConfig(roleAdmin, opts)
	if err != nil {
		return nil, err
	}
	return &Admin{core: newCore(cfg)}, nil
}

// Close closes the connections. The second call does nothing.
func (a *Admin) Close() error {
	a.core.close()
	return nil
}

// Brokers returns all brokers in order.
func (a *Admin) Brokers(ctx context.Context) ([]BrokerInfo, error) {
	reply, err := a.core.ask(ctx, "cluster info", &remoting.Command{Code: remoting.ReqGetBrokerClusterInfo})
	if err != nil {
		return nil, err
	}
	var info remoting.ClusterInfo
	if err := remoting.DecodeBody(reply.Body, &info); err != nil {
		return nil, fmt.Errorf("cluster info: %w: %w", ErrMalformed, err)
	}
	var out []BrokerInfo
	for name, b := range info.BrokerAddrTable {
		for id, addr := range b.BrokerAddrs {
			out = append(out, BrokerInfo{Cluster: b.Cluster, Name: name, ID: int(id), Addr: addr})
		}
	}
	slices.SortFunc(out, func(x, y BrokerInfo) int {
		return compareQueues(Queue{x.Name, x.ID}, Queue{y.Name, y.ID})
	})
	return out, nil
}

// BrokerStatus asks a broker, by its address, about itself.
func (a *Admin) BrokerStatus(ctx context.Context, addr string) (BrokerStatus, error) {
	var table remoting.KVTable
	err := a.query(ctx, "broker status", addr, &remoting.Command{Code: remoting.ReqGetBrokerRuntimeInfo}, &table)
	return BrokerStatus(table.Table), err
}

// query sends a request to a broker and decodes the body of the answer.
func (a *Admin) query(ctx context.Context, op, addr string, cmd *remoting.Command, body any) error {
	reply, err := a.core.request(ctx, op, addr, cmd)
	if err != nil {
		return err
	}
	if err := remoting.DecodeBody(reply.Body, body); err != nil {
		return &Error{Op: op, Addr: addr, Code: CodeNone, Err: fmt.Errorf("%w: %w", ErrMalformed, err)}
	}
	return nil
}

// owners returns the brokers that take writes.
func (a *Admin) owners(ctx context.Context) ([]BrokerInfo, error) {
	all, err := a.Brokers(ctx)
	if err != nil {
		return nil, err
	}
	var out []BrokerInfo
	for _, b := range all {
		if len(out) == 0 || out[len(out)-1].Name != b.Name {
			out = append(out, b)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no broker: %w", ErrNoRoute)
	}
	return out, nil
}

// onAll calls f for every broker that takes writes and joins the errors.
func (a *Admin) onAll(ctx context.Context, f func(addr string) error) error {
	brokers, err := a.owners(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, b := range brokers {
		if err := f(b.Addr); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// CreateTopic creates a topic on all brokers. It is an ErrExists if it is there already.
func (a *Admin) CreateTopic(ctx context.Context, t TopicConfig) error {
	_, err := a.core.queryRoute(ctx, t.Name)
	if err == nil {
		return fmt.Errorf("topic %s: %w", t.Name, ErrExists)
	}
	if !errors.Is(err, ErrNoRoute) {
		return err
	}
	return a.UpdateTopic(ctx, t)
}

// UpdateTopic changes a topic on all brokers, or creates it.
func (a *Admin) UpdateTopic(ctx context.Context, t TopicConfig) error {
	if t.Perm == 0 {
		t.Perm = permRead | permWrite
	}
	if t.ReadQueues == 0 {
		t.ReadQueues = defaultTopicQueues
	}
	if t.WriteQueues == 0 {
		t.WriteQueues = defaultTopicQueues
	}
	var attrs []string
	for _, k := range slices.Sorted(maps.Keys(t.Attributes)) {
		if v := t.Attributes[k]; v != "" {
			attrs = append(attrs, "+"+k+"="+v)
		} else {
			attrs = append(attrs, "-"+k)
		}
	}
	return a.onAll(ctx, func(addr string) error {
		cmd := remoting.Command{Code: remoting.ReqUpdateAndCreateTopic}
		cmd.Ext.Add("topic", t.Name)
		cmd.Ext.Add("defaultTopic", "TBW102")
		cmd.Ext.AddInt("readQueueNums", int64(t.ReadQueues))
		cmd.Ext.AddInt("writeQueueNums", int64(t.WriteQueues))
		cmd.Ext.AddInt("perm", int64(t.Perm))
		cmd.Ext.Add("topicFilterType", "SINGLE_TAG")
		cmd.Ext.AddInt("topicSysFlag", 0)
		cmd.Ext.AddBool("order", t.Order)
		if len(attrs) > 0 {
			cmd.Ext.Add("attributes", strings.Join(attrs, ","))
		}
		_, err := a.core.request(ctx, "create topic", addr, &cmd)
		return err
	})
}

// DeleteTopic deletes a topic and its messages everywhere. It is an ErrNotFound if there is no such topic.
func (a *Admin) DeleteTopic(ctx context.Context, topic string) error {
	_, err := a.core.queryRoute(ctx, topic) // brokers say yes to the deletion of what they do not have
	if errors.Is(err, ErrNoRoute) {
		return fmt.Errorf("delete topic: %w", ErrNotFound)
	}
	if err != nil {
		return err
	}
	err = a.onAll(ctx, func(addr string) error {
		cmd := remoting.Command{Code: remoting.ReqDeleteTopicInBroker}
		cmd.Ext.Add("topic", topic)
		_, err := a.core.request(ctx, "delete topic", addr, &cmd)
		return err
	})
	if err != nil {
		return err
	}
	var faults []error
	for _, addr := range a.core.cfg.nameServers {
		cmd := remoting.Command{Code: remoting.ReqDeleteTopicInNamesrv}
		cmd.Ext.Add("topic", topic)
		if _, err := a.core.request(ctx, "delete topic", addr, &cmd); err != nil {
			faults = append(faults, err)
		}
	}
	a.core.routes.invalidate(topic)
	return errors.Join(faults...)
}

// ListTopics returns the names of all topics in order, those that RocketMQ
// reserves, retry and dead letter topics included.
func (a *Admin) ListTopics(ctx context.Context) ([]string, error) {
	reply, err := a.core.ask(ctx, "list topics", &remoting.Command{Code: remoting.ReqGetAllTopicListFromNameserver})
	if err != nil {
		return nil, err
	}
	var list remoting.TopicList
	if err := remoting.DecodeBody(reply.Body, &list); err != nil {
		return nil, fmt.Errorf("list topics: %w: %w", ErrMalformed, err)
	}
	slices.Sort(list.TopicList)
	return slices.Compact(list.TopicList), nil
}

// DescribeTopic returns a topic's queues, in order.
func (a *Admin) DescribeTopic(ctx context.Context, topic string) (*TopicInfo, error) {
	r, err := a.core.queryRoute(ctx, topic)
	if err != nil {
		return nil, err
	}
	info := &TopicInfo{Name: topic, ReadQueues: len(r.read), WriteQueues: len(r.write)}
	if len(r.read) > 0 {
		info.Perm |= permRead
	}
	if len(r.write) > 0 {
		info.Perm |= permWrite
	}
	for _, broker := range slices.Sorted(maps.Keys(r.addrs)) {
		cmd := remoting.Command{Code: remoting.ReqGetTopicStatsInfo}
		cmd.Ext.Add("topic", topic)
		var stats remoting.TopicStatsTable
		if err := a.query(ctx, "topic status", r.addrs[broker], &cmd, &stats); err != nil {
			return nil, err
		}
		for _, e := range stats.OffsetTable {
			info.Queues = append(info.Queues, QueueInfo{
				Queue: Queue{Broker: e.Queue.BrokerName, ID: int(e.Queue.QueueID)},
				Min:   max(0, e.Value.MinOffset), Max: e.Value.MaxOffset, LastUpdate: timeOf(e.Value.LastUpdateTimestamp),
			})
		}
	}
	slices.SortFunc(info.Queues, func(x, y QueueInfo) int { return compareQueues(x.Queue, y.Queue) })
	return info, nil
}
