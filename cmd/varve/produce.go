package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvemq/varve/client"
)

const produceLong = `Send messages to a topic, which is made if the broker allows that.

The bodies are, one of
  --file F            the whole of a file (- for standard input)
  --count N --size B  N messages of B bytes each, made up
  neither             the lines of standard input; empty ones are passed over

The messages go to all queues of the topic, several at a time, in no promised
order. With --queue, or --sharding-key, they are stored in the order of input.

Each message that was stored is printed with its queue, offset and id (with
--count only in JSON). The exit code is 1 if any message was not stored.`

const produceExample = `  echo 'hello' | varve produce my-topic --tag my-tag
  varve produce orders --file order.json --key 4711 --sharding-key customer-12
  varve produce load --count 1000000 --size 1024`

// longestBody bounds what is held in memory for a message. Brokers are stricter.
const longestBody = 64 * mib

// produceFlags are the flags of varve produce.
type produceFlags struct {
	tag         string
	keys        []string
	properties  []string
	shardingKey string
	queue       int
	delayLevel  int
	file        string
	count       int64
	size        string
}

func newProduceCmd(s streams, conn *connection) *cobra.Command {
	var f produceFlags
	cmd := &cobra.Command{
		Use:     "produce TOPIC",
		Short:   "Send messages",
		Long:    produceLong,
		Example: produceExample,
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			template, err := f.template(args[0], cmd.Flags().Changed("queue"))
			if err != nil {
				return err
			}
			bodies, total, err := f.bodies(s.in, cmd.Flags().Changed("size"))
			if err != nil {
				return err
			}
			return produce(cmd.Context(), s, conn, template, bodies, total)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.tag, "tag", "", "the messages' `TAG`, which subscriptions filter by")
	flags.StringArrayVar(&f.keys, "key", nil, "a `KEY` by which the messages can be found; may be repeated")
	flags.StringArrayVar(&f.properties, "property", nil, "a property, `NAME=VALUE`; may be repeated")
	flags.StringVar(&f.shardingKey, "sharding-key", "", "messages with the same `KEY` go to the same queue, in order")
	flags.IntVar(&f.queue, "queue", 0, "send to this queue `NUMBER` only")
	flags.IntVar(&f.delayLevel, "delay-level", 0, "deliver later: `LEVEL` 1 to 18 is 1s 5s 10s 30s 1m … 2h")
	flags.StringVar(&f.file, "file", "", "send the contents of this `FILE` as one message")
	flags.Int64Var(&f.count, "count", 0, "make up `N` messages")
	flags.StringVar(&f.size, "size", "100", "their size in `BYTES`")
	return cmd
}

// template is the message without its body.
func (f *produceFlags) template(topic string, toQueue bool) (client.Message, error) {
	properties, err := parsePairs("property", f.properties)
	if err != nil {
		return client.Message{}, err
	}
	if f.delayLevel < 0 || f.delayLevel > 18 {
		return client.Message{}, usagef("--delay-level: %d is not between 0 and 18", f.delayLevel)
	}
	m := client.Message{
		Topic: topic, Tag: f.tag, Keys: f.keys, Properties: properties,
		ShardingKey: f.shardingKey, DelayLevel: f.delayLevel,
	}
	if toQueue {
		if f.queue < 0 {
			return client.Message{}, usagef("--queue: %d is no queue", f.queue)
		}
		m.Queue = &client.Queue{ID: f.queue}
	}
	return m, nil
}

// bodies is what to send, and how many, 0 if that is unknown. A body may be
// overwritten when the next one is asked for.
func (f *produceFlags) bodies(in io.Reader, sized bool) (iter.Seq2[[]byte, error], int64, error) {
	switch {
	case f.file != "" && (f.count != 0 || sized):
		return nil, 0, usagef("--file goes with neither --count nor --size")
	case f.file != "":
		return fileBody(f.file, in), 1, nil
	case f.count < 0:
		return nil, 0, usagef("--count: %d is no number of messages", f.count)
	case f.count > 0:
		size, err := parseByteSize(f.size)
		if err != nil {
			return nil, 0, usagef("--size: %w", err)
		}
		if size < 1 || size > longestBody {
			return nil, 0, usagef("--size: %v is not between 1B and %v", size, longestBody)
		}
		return madeUpBodies(f.count, int(size)), f.count, nil
	case sized:
		return nil, 0, usagef("--size goes with --count")
	default:
		return lineBodies(in), 0, nil
	}
}

func fileBody(name string, in io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if name == "-" {
			body, err := io.ReadAll(io.LimitReader(in, int64(longestBody)+1))
			if err == nil && len(body) > int(longestBody) {
				err = fmt.Errorf("standard input: more than %v", longestBody)
			}
			yield(body, err)
			return
		}
		yield(os.ReadFile(name))
	}
}

func lineBodies(in io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, int(longestBody))
		for lines.Scan() {
			if len(lines.Bytes()) == 0 {
				continue
			}
			if !yield(lines.Bytes(), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, fmt.Errorf("standard input: %w", err))
		}
	}
}

// madeUpBodies begin with their number, so that what arrives can be told apart.
func madeUpBodies(count int64, size int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		body := bytes.Repeat([]byte("varve "), size/6+1)[:size]
		for n := range count {
			copy(body, fmt.Sprintf("%d ", n))
			if !yield(body, nil) {
				return
			}
		}
	}
}

// sentRow is a message that was stored.
type sentRow struct {
	Topic  string `json:"topic"`
	Broker string `json:"broker,omitempty"`
	Queue  int    `json:"queue"`
	Offset int64  `json:"offset"`
	MsgID  string `json:"msgId"`
	Status string `json:"status"`
}

func (r sentRow) cells() []string {
	return []string{r.Broker, fmt.Sprint(r.Queue), fmt.Sprint(r.Offset), r.MsgID, r.Status}
}

func sentRowOf(r client.SendResult) sentRow {
	return sentRow{
		Topic: r.Topic, Broker: r.Queue.Broker, Queue: r.Queue.ID, Offset: r.Offset,
		MsgID: r.MsgID, Status: sendStatus(r.Status),
	}
}

func sendStatus(s client.SendStatus) string {
	switch s {
	case client.SendOK:
		return "SEND_OK"
	case client.SendFlushDiskTimeout:
		return "FLUSH_DISK_TIMEOUT"
	case client.SendFlushReplicaTimeout:
		return "FLUSH_SLAVE_TIMEOUT"
	case client.SendReplicaNotAvailable:
		return "SLAVE_NOT_AVAILABLE"
	default:
		return fmt.Sprintf("STATUS_%d", s)
	}
}

func produce(
	ctx context.Context, s streams, conn *connection, template client.Message, bodies iter.Seq2[[]byte, error], total int64,
) error {
	opts, err := conn.options(client.WithSendTimeout(conn.timeout))
	if err != nil {
		return err
	}
	producer, err := client.NewProducer(opts...)
	if err != nil {
		return &usageError{err: err}
	}
	ctx, stop := interruptible(ctx)
	defer stop()

	quiet := total > 1 && !conn.output.json()
	sent := newSentLog(s, conn.output, total, quiet)
	err = sendAll(ctx, producer, template, bodies, conn.timeout, sent)
	return closing(producer, errors.Join(err, sent.finish(s)))
}

// sendAll sends every body and waits for all answers. It stops early when ctx
// ends, when the bodies fail, when a message is refused before it is sent, or
// when the topic is not found within patience.
func sendAll(
	ctx context.Context, producer *client.Producer, template client.Message,
	bodies iter.Seq2[[]byte, error], patience time.Duration, sent *sentLog,
) error {
	// The first message waits for the topic's route, for ever if it may; later
	// ones wait for room, which is no fault.
	firstCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	first := true
	for body, bodyErr := range bodies {
		if err = bodyErr; err != nil {
			break
		}
		m := template
		m.Body = body
		send := ctx
		if first {
			send, first = firstCtx, false
		}
		if err = producer.SendAsync(send, &m, sent.answer); err != nil {
			break
		}
	}
	// What is on its way is waited for even after an interrupt, but then no longer
	// than one request may take: a broker that is away would keep it for long.
	flush, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(patience, stop) })()
	return errors.Join(err, producer.Flush(flush))
}

// sentLog prints and counts answers.
type sentLog struct {
	mu       sync.Mutex // guards all; answers come from the producer's goroutine
	p        *printer   // nil when quiet
	out      *bufio.Writer
	progress *progress
	start    time.Time
	stored   int64
	lost     int64
	first    error // of the messages that were not stored
	printErr error
}

func newSentLog(s streams, o outputFlag, total int64, quiet bool) *sentLog {
	l := &sentLog{
		out:      bufio.NewWriter(s.out),
		progress: newProgress(s, "messages sent", total, !quiet),
		start:    time.Now(),
	}
	if !quiet {
		l.p = newPrinter(l.out, o, "BROKER", "QUEUE", "OFFSET", "ID", "STATUS")
	}
	return l
}

func (l *sentLog) answer(r client.SendResult, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress.add(1)
	if err != nil {
		l.lost++
		if l.first == nil {
			l.first = err
		}
		return
	}
	l.stored++
	if l.p != nil && l.printErr == nil {
		l.printErr = l.p.print(sentRowOf(r))
	}
}

// finish writes what is left to write, and says what became of the messages.
func (l *sentLog) finish(s streams) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress.end()
	if l.p != nil && l.printErr == nil {
		l.printErr = l.p.flush()
	}
	if l.printErr == nil {
		l.printErr = l.out.Flush()
	}
	took := time.Since(l.start)
	s.note("%s stored in %v (%.0f/s)", counted(l.stored, "message"), took.Round(time.Millisecond), rate(l.stored, took))
	if l.lost > 0 {
		return errors.Join(l.printErr, fmt.Errorf("%s failed, the first: %w", counted(l.lost, "message"), l.first))
	}
	return l.printErr
}
