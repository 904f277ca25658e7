package client

import (
	"context"
	"maps"
	"slices"

	"github.com/varvemq/varve/internal/remoting"
)

// Request sends a broker, by its address, a request that this package has no method for, and returns the body of the answer. op is what errors call it.
func (a *Admin) Request(ctx context.Context, op, addr string, code int32, fields map[string]string) ([]byte, error) {
	cmd := remoting.Command{Code: code}
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		cmd.Ext.Add(k, fields[k])
	}
	reply, err := a.core.request(ctx, op, addr, &cmd)
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}
