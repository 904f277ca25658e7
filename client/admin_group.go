package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/varvemq/varve/internal/remoting"
)

// timeOf makes a time of milliseconds since 1970; none is the zero time.
func timeOf(ms int64) time.Time {
	if ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// ListGroups returns the names of all consumer groups in order.
func (a *Admin) ListGroups(ctx context.Context) ([]string, error) {
	set := make(map[string]struct{})
	err := a.onAll(ctx, func(addr string) error {
		var table remoting.SubscriptionGroupTable
		cmd := remoting.Command{Code: remoting.ReqGetAllSubscriptionGroupConfig}
		if err := a.query(ctx, "list groups", addr, &cmd, &table); err != nil {
			return err
		}
		for name := range table.SubscriptionGroupTable {
			set[name] = struct{}{}
		}
		return nil
	})
	return slices.Sorted(maps.Keys(set)), err
}

// DescribeGroup returns a group's members and progress.
func (a *Admin) DescribeGroup(ctx context.Context, group string) (*GroupInfo, error) {
	g := &GroupInfo{Name: group}
	members := make(map[string]Member)
	known := false
	err := a.onAll(ctx, func(addr string) error {
		on, err := a.groupMembers(ctx, addr, g, members)
		if err != nil {
			return err
		}
		some, err := a.groupProgress(ctx, addr, g)
		known = known || on || some
		return err
	})
	if err != nil {
		return nil, err
	}
	if !known {
		groups, err := a.ListGroups(ctx)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(groups, group) {
			return nil, fmt.Errorf("group %s: %w", group, ErrNotFound)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		g.Members = append(g.Members, members[id])
	}
	g.Online = len(members) > 0
	slices.SortFunc(g.Progress, func(x, y GroupProgress) int {
		return cmp.Or(strings.Compare(x.Topic, y.Topic), compareQueues(x.Queue, y.Queue))
	})
	return g, nil
}

// groupMembers adds what a broker knows of the group's members.
func (a *Admin) groupMembers(ctx context.Context, addr string, g *GroupInfo, members map[string]Member) (bool, error) {
	cmd := remoting.Command{Code: remoting.ReqGetConsumerConnectionList}
	cmd.Ext.Add("consumerGroup", g.Name)
	var conns remoting.ConsumerConnection
	err := a.query(ctx, "group members", addr, &cmd, &conns)
	if c := codeOf(err); c == CodeConsumerNotOnline || c == CodeGroupNotExist {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, c := range conns.ConnectionSet {
		members[c.ClientID] = Member{ClientID: c.ClientID, Addr: c.ClientAddr, Language: c.Language, Version: int(c.Version)}
	}
	g.Model, g.ConsumeType, g.ConsumeFrom = conns.MessageModel, conns.ConsumeType, conns.ConsumeFromWhere
	g.Subscriptions = make(map[string]string, len(conns.SubscriptionTable))
	for topic, s := range conns.SubscriptionTable {
		g.Subscriptions[topic] = s.SubString
	}
	return true, nil
}

// groupProgress adds what a broker knows of the group's progress.
func (a *Admin) groupProgress(ctx context.Context, addr string, g *GroupInfo) (bool, error) {
	cmd := remoting.Command{Code: remoting.ReqGetConsumeStats}
	cmd.Ext.Add("consumerGroup", g.Name)
	var stats remoting.ConsumeStats
	err := a.query(ctx, "group progress", addr, &cmd, &stats)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, e := range stats.OffsetTable {
		g.Progress = append(g.Progress, GroupProgress{
			Topic: e.Queue.Topic, Queue: Queue{Broker: e.Queue.BrokerName, ID: int(e.Queue.QueueID)},
			Committed: e.Value.ConsumerOffset, Max: e.Value.BrokerOffset, LastConsumed: timeOf(e.Value.LastTimestamp),
		})
	}
	return len(stats.OffsetTable) > 0, nil
}

// CreateGroup creates a consumer group on all brokers, or changes how often
// its messages are retried before they go to the dead letter topic. Zero means 16.
func (a *Admin) CreateGroup(ctx context.Context, group string, maxRetries int) error {
	cfg := remoting.DefaultSubscriptionGroup(group)
	if maxRetries > 0 {
		cfg.RetryMaxTimes = int32(maxRetries)
	}
	body, err := remoting.EncodeBody(&cfg)
	if err != nil {
		return err
	}
	return a.onAll(ctx, func(addr string) error {
		cmd := remoting.Command{Code: remoting.ReqUpdateAndCreateSubscriptionGroup, Body: body}
		_, err := a.core.request(ctx, "create group", addr, &cmd)
		return err
	})
}

// DeleteGroup deletes a group and its committed offsets.
func (a *Admin) DeleteGroup(ctx context.Context, group string) error {
	return a.onAll(ctx, func(addr string) error {
		cmd := remoting.Command{Code: remoting.ReqDeleteSubscriptionGroup}
		cmd.Ext.Add("groupName", group)
		cmd.Ext.AddBool("cleanOffset", true)
		_, err := a.core.request(ctx, "delete group", addr, &cmd)
		return err
	})
}

// GroupsOf returns the groups that consume a topic.
func (a *Admin) GroupsOf(ctx context.Context, topic string) ([]string, error) {
	r, err := a.core.queryRoute(ctx, topic)
	if err != nil {
		return nil, err
	}
	set := make(map[string]struct{})
	for _, addr := range r.addrs {
		cmd := remoting.Command{Code: remoting.ReqQueryTopicConsumeByWho}
		cmd.Ext.Add("topic", topic)
		var list remoting.GroupList
		if err := a.query(ctx, "groups of topic", addr, &cmd, &list); err != nil {
			return nil, err
		}
		for _, g := range list.GroupList {
			set[g] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(set)), nil
}

// ResetOffset moves a group in all queues of a topic to a position. Connected
// members follow. It returns the new offsets.
func (a *Admin) ResetOffset(ctx context.Context, group, topic string, to Position) (map[Queue]int64, error) {
	r, err := a.core.queryRoute(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(map[Queue]int64, len(r.read))
	if to.kind == atOffset {
		for _, q := range r.read {
			offset, err := a.core.locate(ctx, topic, q, to)
			if err != nil {
				return out, err
			}
			last, err := a.core.maxOffset(ctx, topic, q)
			if err != nil {
				return out, err
			}
			if err := a.reset(ctx, r.addrs[q.Broker], group, topic, int64(q.ID), min(offset, last), -1, out); err != nil {
				return out, err
			}
		}
		return out, nil
	}
	var ms int64 // First: everything is later than 1970
	switch to.kind {
	case atTime:
		ms = millis(to.time)
	case atLast:
		ms = -1
	default:
	}
	for _, broker := range slices.Sorted(maps.Keys(r.addrs)) {
		if err := a.reset(ctx, r.addrs[broker], group, topic, -1, -1, ms, out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// reset resets one queue to an offset, or all of a broker's to a time, and adds the answer to out.
func (a *Admin) reset(ctx context.Context, addr, group, topic string, queue, offset, ms int64, out map[Queue]int64) error {
	cmd := remoting.Command{Code: remoting.ReqInvokeBrokerToResetOffset}
	cmd.Ext.Add("topic", topic)
	cmd.Ext.Add("group", group)
	cmd.Ext.AddInt("queueId", queue)
	cmd.Ext.AddInt("offset", offset)
	cmd.Ext.AddInt("timestamp", ms)
	cmd.Ext.AddBool("isForce", true)
	var body remoting.ResetOffsetBody
	if err := a.query(ctx, "reset offset", addr, &cmd, &body); err != nil {
		return err
	}
	for _, e := range body.OffsetTable {
		out[Queue{Broker: e.Queue.BrokerName, ID: int(e.Queue.QueueID)}] = e.Value
	}
	return nil
}
