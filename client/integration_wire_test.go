package client_test

import (
	"crypto/tls"
	"errors"
	"slices"
	"testing"

	"github.com/varvemq/varve/client"
)

// integrationWire sends and reads with JSON headers and over TLS.
func integrationWire(e *env) {
	t := e.t
	for _, tt := range []struct {
		name string
		opt  client.Option
	}{
		{"json", client.WithJSONHeaders()},
		{"tls", client.WithTLS(&tls.Config{InsecureSkipVerify: true})}, // the server's certificate is its own
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t, e.addr)
			e.create(1)
			e.opts = append(e.opts, tt.opt)
			p := e.producer()
			ms := []*client.Message{{Topic: e.topic, Body: []byte("1")}, {Topic: e.topic, Body: []byte("2"), Tag: "é\"\\"}}
			if _, err := p.Send(t.Context(), ms[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := p.SendBatch(t.Context(), ms); err != nil {
				t.Fatal(err)
			}
			e.awaitVisible(3)
			got := e.readAll()
			if len(got) != 3 || string(got[2].Body) != "2" || got[2].Tag != ms[1].Tag || got[2].Offset != 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// integrationSQL filters by properties, if the broker can.
func integrationSQL(e *env) {
	t := e.t
	e.create(1)
	p := e.producer()
	for _, price := range []string{"5", "15", "25"} {
		if _, err := p.Send(t.Context(), &client.Message{
			Topic: e.topic, Body: []byte(price), Properties: map[string]string{"price": price},
		}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := client.NewReader(e.opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := r.Open(t.Context(), e.topic, client.First(), client.WithSQL("price > 10"), client.UntilEnd())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []string
	for m, err := range s.All(t.Context()) {
		if ce, ok := errors.AsType[*client.Error](err); ok {
			t.Skipf("broker without SQL filter: %v", ce)
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(m.Body))
	}
	if !slices.Equal(got, []string{"15", "25"}) {
		t.Errorf("got %v", got)
	}
}
