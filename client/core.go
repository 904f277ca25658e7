package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/varvemq/varve/internal/message"
	"github.com/varvemq/varve/internal/remoting"
)

// core is what all roles share: connections, routes, an identity, and the
// goroutines that end with the role.
type core struct {
	cfg    *config
	net    *network
	routes *routeTable
	life   *life
	ids    *message.IDGenerator
	server atomic.Uint32 // index of the name server in use
	notify serverRequests
}

// serverRequests are what a role does when a server asks; nil means not
// supported. They must not block.
type serverRequests struct {
	membersChanged func(group string)
	resetOffsets   func(group, topic string, offsets map[Queue]int64)
	connected      func() // a connection was made
}

// clientCount makes client ids of one process differ.
var clientCount atomic.Uint32 //nolint:gochecknoglobals // a counter; nothing depends on its value

func newCore(cfg *config) *core {
	c := &core{cfg: cfg, life: newLife()}
	salt := rand.Uint32() //nolint:gosec // only has to differ
	c.ids = message.NewIDGenerator(localAddr(), os.Getpid(), salt)
	if cfg.clientID == "" {
		cfg.clientID = fmt.Sprintf("%s@%d#%x%x", hostName(), os.Getpid(), salt, clientCount.Add(1))
	}
	c.server.Store(rand.Uint32()) //nolint:gosec // spreads load
	c.net = newNetwork(cfg, c.serve)
	c.net.connected = func() {
		if c.notify.connected != nil {
			c.notify.connected()
		}
	}
	c.routes = newRouteTable(c)
	c.life.every(cfg.routeInterval, c.routes.refresh)
	return c
}

// localAddr returns an address of this machine that tells it from others, if it has one.
func localAddr() netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
				return p.Addr()
			}
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func hostName() string {
	h, err := os.Hostname()
	if err != nil || h == "" {
		return "localhost"
	}
	return h
}

// close ends everything. It may be called twice.
func (c *core) close() {
	c.life.cancel()
	c.net.close()
	c.life.close()
}

// request sends a request to a broker and makes an error of an answer that is
// not success.
func (c *core) request(ctx context.Context, op, addr string, cmd *remoting.Command) (*remoting.Command, error) {
	reply, err := c.net.request(ctx, op, addr, cmd, c.cfg.requestTimeout)
	if err != nil {
		return nil, err
	}
	if reply.Code != remoting.RespSuccess {
		return nil, answerError(op, addr, reply)
	}
	return reply, nil
}

// ask sends a request to a name server, and to the next one if that fails.
func (c *core) ask(ctx context.Context, op string, cmd *remoting.Command) (*remoting.Command, error) {
	var faults []error
	servers := c.cfg.nameServers
	for range servers {
		i := c.server.Load()
		addr := servers[int(i%uint32(len(servers)))]
		reply, err := c.net.request(ctx, op, addr, cmd, c.cfg.requestTimeout)
		switch {
		case err == nil && reply.Code == remoting.RespSuccess:
			return reply, nil
		case err == nil && !Retriable(answerError(op, addr, reply)), err == nil && reply.Code == remoting.RespTopicNotExist:
			return nil, answerError(op, addr, reply)
		case err == nil:
			err = answerError(op, addr, reply)
		}
		faults = append(faults, err)
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			break
		}
		c.server.CompareAndSwap(i, i+1)
	}
	return nil, errors.Join(faults...)
}

// serve answers the requests that servers make. It runs on a connection's
// reader and does not block.
func (c *core) serve(cn *conn, cmd *remoting.Command) {
	var reply remoting.Command
	reply.InitResponse(cmd, remoting.RespSuccess, "")
	switch cmd.Code {
	case remoting.ReqNotifyConsumerIDsChanged:
		if c.notify.membersChanged != nil {
			c.notify.membersChanged(cmd.Ext.String("consumerGroup"))
		}
	case remoting.ReqResetConsumerClientOffset:
		c.serveReset(cmd, &reply)
	default:
		reply.InitResponse(cmd, remoting.RespRequestCodeNotSupported,
			"request type "+strconv.Itoa(int(cmd.Code))+" not supported by this client")
	}
	if cmd.IsOneway() {
		return
	}
	c.life.run(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.requestTimeout)
		defer cancel()
		if err := cn.enqueue(ctx, &reply, nil); err != nil {
			c.cfg.logger.Debug("answer not sent", "addr", cn.addr, "code", cmd.Code, "error", err)
		}
	})
}

func (c *core) serveReset(cmd, reply *remoting.Command) {
	var body remoting.ResetOffsetBody
	if err := remoting.DecodeBody(cmd.Body, &body); err != nil {
		reply.Code, reply.Remark = remoting.RespSystemError, err.Error()
		return
	}
	if c.notify.resetOffsets == nil {
		reply.Code = remoting.RespRequestCodeNotSupported
		return
	}
	offsets := make(map[Queue]int64, len(body.OffsetTable))
	for _, e := range body.OffsetTable {
		offsets[Queue{Broker: e.Queue.BrokerName, ID: int(e.Queue.QueueID)}] = e.Value
	}
	c.notify.resetOffsets(cmd.Ext.String("group"), cmd.Ext.String("topic"), offsets)
}

// heartbeat tells all brokers of the cached routes who is here.
func (c *core) heartbeat(ctx context.Context, data *remoting.HeartbeatData) {
	body, err := remoting.EncodeBody(data)
	if err != nil {
		c.cfg.logger.Error("heartbeat not sent", "error", err)
		return
	}
	c.eachBroker(ctx, func(ctx context.Context, addr string) {
		cmd := remoting.Command{Code: remoting.ReqHeartbeat, Body: body}
		if _, err := c.request(ctx, "heartbeat", addr, &cmd); err != nil && ctx.Err() == nil {
			c.cfg.logger.Warn("heartbeat failed", "addr", addr, "error", err)
		}
	})
}

// unregister says goodbye to all brokers of the cached routes.
func (c *core) unregister(ctx context.Context, producerGroup, consumerGroup string) {
	c.eachBroker(ctx, func(ctx context.Context, addr string) {
		if !c.net.reached(addr) {
			return // it knows of the end already
		}
		cmd := remoting.Command{Code: remoting.ReqUnregisterClient}
		cmd.Ext.Add("clientID", c.cfg.clientID)
		if producerGroup != "" {
			cmd.Ext.Add("producerGroup", producerGroup)
		}
		if consumerGroup != "" {
			cmd.Ext.Add("consumerGroup", consumerGroup)
		}
		if _, err := c.request(ctx, "unregister", addr, &cmd); err != nil {
			c.cfg.logger.Debug("goodbye failed", "addr", addr, "error", err)
		}
	})
}

// eachBroker calls f for all known brokers at once and waits for it.
func (c *core) eachBroker(ctx context.Context, f func(context.Context, string)) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.requestTimeout)
	defer cancel()
	addrs := c.routes.brokers()
	done := make(chan struct{}, len(addrs))
	for _, addr := range addrs {
		go func() {
			defer func() { done <- struct{}{} }()
			f(ctx, addr)
		}()
	}
	for range addrs {
		<-done
	}
}

// millis returns t in milliseconds since 1970.
func millis(t time.Time) int64 { return t.UnixMilli() }
