package segment

// rootRow is a page of the queue index in the root.
type rootRow struct {
	pos     int64  // of the page
	block   int64  // position of its first block
	number  uint64 // message number of that block
	base    uint64 // its offset
	store   int64  // lowest store time of the first block with messages, from there on, of the page's first queue; 0: none
	ordinal uint32
	crc     uint32
}

// root has the places and checksums of all pages.
type root struct {
	pages       []rootRow
	keys        []keyRow
	bloom       []uint32
	bloomBlocks uint32
}

func (r *root) encode() []byte {
	dst := make([]byte, 0, rootHeader+len(r.pages)*rootRowSize+len(r.keys)*keyRowSize+len(r.bloom)*4)
	dst = append(dst, rootMagic...)
	dst = le.AppendUint16(dst, formatVersion)
	dst = le.AppendUint16(dst, 0)
	dst = le.AppendUint32(dst, uint32(len(r.pages)))
	dst = le.AppendUint32(dst, uint32(len(r.keys)))
	dst = le.AppendUint32(dst, uint32(len(r.bloom)))
	dst = le.AppendUint32(dst, r.bloomBlocks)
	for i := range r.pages {
		p := &r.pages[i]
		for _, v := range [...]uint64{uint64(p.pos), uint64(p.block), p.number, p.base, uint64(p.store)} {
			dst = le.AppendUint64(dst, v)
		}
		dst = le.AppendUint32(dst, p.ordinal)
		dst = le.AppendUint32(dst, p.crc)
	}
	for _, k := range r.keys {
		dst = le.AppendUint32(dst, k.first)
		dst = le.AppendUint32(dst, k.crc)
	}
	for _, c := range r.bloom {
		dst = le.AppendUint32(dst, c)
	}
	return dst
}

// parseRoot decodes the root of a segment and checks it against the footer.
func parseRoot(b []byte, f *Footer) (*root, error) {
	bad := func(format string, args ...any) (*root, error) {
		return nil, corrupt(SectionRoot, f.rootPos, format, args...)
	}
	if len(b) < rootHeader || string(b[:4]) != rootMagic || le.Uint16(b[4:]) != formatVersion || le.Uint16(b[6:]) != 0 {
		return bad("%d bytes that begin with %x", len(b), b[:min(len(b), 8)])
	}
	pages, keys, blooms := int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:])), int64(le.Uint32(b[16:]))
	r := &root{bloomBlocks: le.Uint32(b[20:])}
	bloomBytes := f.indexPos - f.bloomPos
	if int64(len(b)) != rootHeader+pages*rootRowSize+keys*keyRowSize+blooms*4 || keys != (int64(f.Keys)+keyPageEntries-1)/keyPageEntries ||
		blooms != (bloomBytes+bloomPageSize-1)/bloomPageSize || int64(r.bloomBlocks)*bloomBlock != bloomBytes {
		return bad("%d pages, %d of keys, %d of the filter in %d bytes", pages, keys, blooms, len(b))
	}
	if (pages == 0) != (f.Queues == 0) || (pages == 0) != (f.rootPos == f.indexPos) {
		return bad("%d pages for %d queues", pages, f.Queues)
	}
	b = b[rootHeader:]
	r.pages = make([]rootRow, pages)
	for i := range r.pages {
		p := b[i*rootRowSize:]
		r.pages[i] = rootRow{
			pos: int64(le.Uint64(p)), block: int64(le.Uint64(p[8:])), number: le.Uint64(p[16:]), base: le.Uint64(p[24:]), store: int64(le.Uint64(p[32:])),
			ordinal: le.Uint32(p[40:]), crc: le.Uint32(p[44:]),
		}
		if why := r.checkPage(i, f); why != "" {
			return bad("page %d: %s", i, why)
		}
	}
	b = b[pages*rootRowSize:]
	r.keys = make([]keyRow, keys)
	for i := range r.keys {
		r.keys[i] = keyRow{first: le.Uint32(b[i*keyRowSize:]), crc: le.Uint32(b[i*keyRowSize+4:])}
		if i > 0 && r.keys[i].first < r.keys[i-1].first {
			return bad("key page %d out of order", i)
		}
	}
	b = b[keys*keyRowSize:]
	r.bloom = make([]uint32, blooms)
	for i := range r.bloom {
		r.bloom[i] = le.Uint32(b[i*4:])
	}
	return r, nil
}

// checkPage says what is wrong with a row, the rows before it being right.
func (r *root) checkPage(i int, f *Footer) string {
	p := &r.pages[i]
	if i == 0 {
		switch {
		case p.pos != f.indexPos:
			return "not at the start of the index"
		case p.block != 0 || p.number != 0:
			return "not at the first block"
		}
	} else {
		q := &r.pages[i-1]
		switch {
		case p.pos <= q.pos || p.pos-q.pos > maxPage:
			return "positions"
		case p.ordinal < q.ordinal || p.ordinal == q.ordinal && p.base <= q.base:
			return "order of queues"
		case p.block <= q.block || p.block >= f.keyPos || p.number < q.number || p.number > f.Messages:
			return "order of blocks"
		}
	}
	if i == len(r.pages)-1 && (p.pos >= f.rootPos || f.rootPos-p.pos > maxPage) {
		return "length of the last"
	}
	return ""
}
