package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/varvemq/varve/client"
	"github.com/varvemq/varve/internal/remoting"
)

// brokerFlag chooses one of several brokers.
type brokerFlag struct{ name string }

// addr returns the address of the broker that is meant: the only one, or the one that was named.
func (f *brokerFlag) addr(ctx context.Context, a *client.Admin) (string, error) {
	brokers, err := a.Brokers(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, b := range brokers {
		if f.name == b.Name || f.name == "" && len(brokers) == 1 {
			return b.Addr, nil
		}
		names = append(names, b.Name)
	}
	if f.name == "" {
		return "", usagef("--broker: say which of %v", names)
	}
	return "", usagef("--broker: there is no %s, only %v", f.name, names)
}

// ask sends a broker one of Varve's own requests and decodes the answer.
func ask[T any](ctx context.Context, a *client.Admin, op, addr string, code int32, fields map[string]string) (T, error) {
	var answer T
	body, err := a.Request(ctx, op, addr, code, fields)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return answer, fmt.Errorf("%s: %s answered what cannot be read: %w", op, addr, err)
	}
	return answer, nil
}

// object parses the number of a segment.
func object(arg string) (string, error) {
	n, err := strconv.ParseUint(arg, 10, 63)
	if err != nil || n == 0 {
		return "", usagef("%q is no segment's number: varve segment list shows them", arg)
	}
	return strconv.FormatUint(n, 10), nil
}

// segmentRow is a segment in a list.
type segmentRow struct{ remoting.SegmentInfo }

func segmentHeader() []string {
	return []string{"OBJECT", "LEVEL", "EPOCH", "SIZE", "RAW", "MESSAGES", "LSN", "OLDEST", "NEWEST", "KEY"}
}

func (r segmentRow) cells() []string {
	return []string{
		fmt.Sprint(r.Object), fmt.Sprint(r.Level), fmt.Sprint(r.Epoch), byteSize(r.Size).about(), byteSize(r.RawBytes).about(), fmt.Sprint(r.Messages),
		fmt.Sprintf("%d-%d", r.FirstLSN, r.EndLSN), storeTime(r.MinStore), storeTime(r.MaxStore), r.Key,
	}
}
