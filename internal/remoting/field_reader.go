package remoting

// optional is the bit of a field that may be absent.
const optional = -1

// fieldReader collects the mandatory fields seen and the first fault while a
// header struct is decoded.
type fieldReader struct {
	seen uint32
	err  error
}

func (r *fieldReader) mark(bit int) {
	if bit != optional {
		r.seen |= 1 << bit
	}
}

// bytes returns v and marks its field as seen.
func (r *fieldReader) bytes(bit int, v []byte) []byte {
	r.mark(bit)
	return v
}

func (r *fieldReader) int32(bit int, field string, v []byte) int32 {
	return int32(r.number(bit, field, v, 32))
}

func (r *fieldReader) int64(bit int, field string, v []byte) int64 {
	return r.number(bit, field, v, 64)
}

func (r *fieldReader) number(bit int, field string, v []byte, bits uint) int64 {
	r.mark(bit)
	n, ok := parseInt(v, bits)
	if !ok {
		if r.err == nil {
			r.err = malformedField(field, v)
		}
		return 0
	}
	return n
}

// done returns the first fault, or a *FieldError if a mandatory field is absent.
func (r *fieldReader) done(mandatory []string) error {
	if r.err != nil {
		return r.err
	}
	for bit, field := range mandatory {
		if r.seen&(1<<bit) == 0 {
			return missingField(field)
		}
	}
	return nil
}
