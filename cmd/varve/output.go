package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// outputFlag is -o: how a command writes what it found.
type outputFlag struct{ format outputFormat }

func (o *outputFlag) register(flags *pflag.FlagSet) {
	flags.VarP(&o.format, "output", "o", "how to print: a table for people, or one JSON object a line")
}

func (o *outputFlag) json() bool { return o.format == formatJSON }

// outputFormat is "table" (also "") or "json".
type outputFormat string

const (
	formatTable outputFormat = "table"
	formatJSON  outputFormat = "json"
)

func (f *outputFormat) String() string {
	if *f == "" {
		return string(formatTable)
	}
	return string(*f)
}

// Set takes the two formats there are.
func (f *outputFormat) Set(s string) error {
	switch outputFormat(s) {
	case formatTable, formatJSON:
		*f = outputFormat(s)
		return nil
	default:
		return fmt.Errorf("%q is neither table nor json", s)
	}
}

// Type is what --help shows.
func (f *outputFormat) Type() string { return "table|json" }

// writeJSONLine writes v as one line of JSON. <, > and & stay as they are.
func writeJSONLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// row is one line of a command's answer: an object for -o json, and its cells
// for a table.
type row interface{ cells() []string }

// printer writes rows in the format asked for. A table is aligned over all its
// rows, so they appear at flush; JSON lines appear at once.
type printer struct {
	w      io.Writer
	json   bool
	header []string
	table  *tabwriter.Writer
}

func newPrinter(w io.Writer, o outputFlag, header ...string) *printer {
	return &printer{w: w, json: o.json(), header: header}
}

func (p *printer) print(r row) error {
	if p.json {
		return writeJSONLine(p.w, r)
	}
	if err := p.begin(); err != nil {
		return err
	}
	return p.line(r.cells())
}

// begin makes the table, and its header the first line of it.
func (p *printer) begin() error {
	if p.table != nil {
		return nil
	}
	p.table = tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	return p.line(p.header)
}

func (p *printer) line(cells []string) error {
	_, err := io.WriteString(p.table, strings.Join(cells, "\t")+"\n")
	return err
}

// flush writes what is still held; a table without rows is its header.
func (p *printer) flush() error {
	if p.json {
		return nil
	}
	if err := p.begin(); err != nil {
		return err
	}
	return p.table.Flush()
}

// formatTime writes RFC 3339 with nanoseconds, in UTC; the zero time is "".
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

const longestCell = 120

// shorten cuts s to a cell's length, between runes.
func shorten(s string) string {
	if utf8.RuneCountInString(s) <= longestCell {
		return s
	}
	return string([]rune(s)[:longestCell-1]) + "…"
}

// oneLine makes control characters visible instead of letting them move the
// terminal's cursor.
func oneLine(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || (r >= 0x7f && r < 0xa0):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}
