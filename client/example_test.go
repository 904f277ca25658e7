package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/varvemq/varve/client"
)

// The examples need a server on 127.0.0.1:9876, as "make run" starts it. They
// are compiled, not run, by go test; the integration tests exercise the same calls.

// Order processing: what happens to one order stays in order, because its
// messages have the order's id as sharding key, and an orderly consumer handles
// a queue's messages one after the other.
func Example_orderProcessing() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	producer, err := client.NewProducer(client.WithNameServers("127.0.0.1:9876"), client.WithGroup("shop"))
	if err != nil {
		panic(err)
	}
	defer producer.Close()

	for _, event := range []string{"created", "paid", "shipped"} {
		result, err := producer.Send(ctx, &client.Message{
			Topic:       "orders",
			Tag:         event,
			Keys:        []string{"order-4711"}, // to be found by Admin.QueryByKey
			ShardingKey: "order-4711",           // same key, same queue
			Body:        []byte(`{"order": 4711}`),
		})
		switch {
		case client.OutcomeUnknown(err):
			// It may have been stored. Sending it again could duplicate it, so
			// the consumer has to tell duplicates by the order's state.
			fmt.Println(event, "may have been sent:", err)
		case err != nil:
			fmt.Println(event, "was not sent:", err)
			return
		default:
			fmt.Println(event, "is", result.Queue, result.Offset)
		}
	}

	consumer, err := client.NewPushConsumer("billing", func(_ context.Context, m *client.MessageExt) error {
		fmt.Println(m.Keys[0], m.Tag)
		return nil // an error would have the same message handled again, before the next one
	}, client.WithOrderly(), client.WithConsumeFrom(client.First()))
	if err != nil {
		panic(err)
	}
	if err := consumer.Subscribe("orders", "created || paid || shipped"); err != nil {
		panic(err)
	}
	if err := consumer.Run(ctx); err != nil { // until interrupted; progress is committed then
		fmt.Println("consumer:", err)
	}
}

// Log collection: many small messages that go in batches by themselves. Lines
// that matter are counted; chatter is sent one-way.
func Example_logCollection() {
	ctx := context.Background()
	producer, err := client.NewProducer(
		client.WithBatching(256<<10, 2000),    // of a batch, at most
		client.WithMaxInFlightBytes(32<<20),   // then SendAsync waits: the reader slows down
		client.WithSendTimeout(5*time.Second), //
		client.WithDuplicatesAllowed(),        // a line twice is better than a line lost
		client.WithHooks(client.Hooks{BatchSent: // for metrics
		func(_ string, messages, bytes int, took time.Duration, err error) {
			fmt.Println(messages, "messages", bytes, "bytes", took, err)
		}}),
	)
	if err != nil {
		panic(err)
	}
	defer producer.Close() // waits for what is in flight

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		m := &client.Message{Topic: "logs", Tag: "app", Body: lines.Bytes()} // may be reused after SendAsync
		err := producer.SendAsync(ctx, m, func(_ client.SendResult, err error) {
			if err != nil {
				fmt.Println("line lost:", err)
			}
		})
		if err != nil {
			fmt.Println("line refused:", err)
		}
	}
	_ = producer.SendOneway(ctx, &client.Message{Topic: "logs", Tag: "heartbeat", Body: []byte("still here")})
	if err := producer.Flush(ctx); err != nil {
		fmt.Println("flush:", err)
	}
}

// Notifications: a push consumer with several handlers. What cannot be delivered
// is tried again later, with growing delays, by any member of the group; what
// never can goes to the dead letter topic %DLQ%mailer.
func Example_notifications() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	errBusy, errNoSuchUser := errors.New("busy"), errors.New("no such user")
	mail := func(context.Context, string, []byte) error { return nil }

	consumer, err := client.NewPushConsumer("mailer",
		func(ctx context.Context, m *client.MessageExt) error {
			err := mail(ctx, m.Properties["to"], m.Body)
			switch {
			case errors.Is(err, errBusy):
				return client.RetryLater(3) // in 10 s
			case errors.Is(err, errNoSuchUser):
				return client.DeadLetter()
			default:
				return err // nil: done; else: again, after 10 s, 30 s, 1 min, …
			}
		},
		client.WithConcurrency(8),
		client.WithMaxAttempts(5),
		client.WithConsumeFrom(client.First()),
	)
	if err != nil {
		panic(err)
	}
	if err := consumer.Subscribe("notifications", "mail"); err != nil {
		panic(err)
	}

	producer, err := client.NewProducer()
	if err != nil {
		panic(err)
	}
	defer producer.Close()
	_, err = producer.Send(ctx, &client.Message{
		Topic: "notifications", Tag: "mail", Body: []byte("Your parcel is on its way."),
		Properties: map[string]string{"to": "ada@example.org"},
		DeliverAt:  time.Now().Add(time.Minute), // not at once
	})
	if err != nil {
		fmt.Println("not sent:", err)
	}

	if err := consumer.Run(ctx); err != nil {
		fmt.Println("consumer:", err)
	}
}

// Replay: read a topic again from a time on, without a group.
func ExampleReader_Open() {
	ctx := context.Background()
	reader, err := client.NewReader()
	if err != nil {
		panic(err)
	}
	defer reader.Close()
	stream, err := reader.Open(ctx, "orders", client.AtTime(time.Now().Add(-24*time.Hour)), client.UntilEnd())
	if err != nil {
		panic(err)
	}
	defer stream.Close()
	for m, err := range stream.All(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Println(m.Queue.ID, m.Offset, string(m.Body))
	}
}
