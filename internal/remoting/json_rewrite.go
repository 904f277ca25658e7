package remoting

// rewrite appends the value at s, which skip has accepted, as standard JSON:
// keys that are numbers become strings, and an object whose keys are objects
// becomes a list of pairs.
func (s *jsonScanner) rewrite(dst []byte) []byte {
	switch s.peek() {
	case '{':
		s.i++
		if s.peek() == '{' {
			return s.rewriteList(append(dst, '['), '}', ']', func(dst []byte) []byte {
				dst = s.rewriteKey(append(dst, '['))
				return append(s.rewrite(append(dst, ',')), ']')
			})
		}
		return s.rewriteList(append(dst, '{'), '}', '}', func(dst []byte) []byte {
			dst = s.rewriteKey(dst)
			return s.rewrite(append(dst, ':'))
		})
	case '[':
		s.i++
		return s.rewriteList(append(dst, '['), ']', ']', s.rewrite)
	default:
		start := s.i
		s.skip(0)
		return append(dst, s.b[start:s.i]...)
	}
}

// rewriteKey appends the key at s and walks over the colon after it.
func (s *jsonScanner) rewriteKey(dst []byte) []byte {
	switch s.peek() {
	case '"', '{', '[':
		dst = s.rewrite(dst)
	default:
		dst = append(dst, '"')
		dst = append(s.rewrite(dst), '"')
	}
	s.take(':')
	return dst
}

// rewriteList appends the elements up to the bracket end, and then out.
func (s *jsonScanner) rewriteList(dst []byte, end, out byte, element func([]byte) []byte) []byte {
	for s.peek() != end {
		if s.i == len(s.b) {
			return dst
		}
		dst = element(dst)
		if s.peek() == ',' {
			s.i++
			dst = append(dst, ',')
		}
	}
	s.i++
	return append(dst, out)
}
