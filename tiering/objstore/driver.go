package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// driver makes single requests of a server that speaks S3's protocol: it does not repeat, split or join them, which [remote] does for all drivers. Its errors have a class
// or none; fault adds it. Keys are complete. A body is read by one call at a time and is not closed.
type driver interface {
	put(ctx context.Context, key string, b *body, h putHeader) error
	// get returns the n bytes from off on, to the end if n is negative; past the end it returns an empty answer. A non-empty ifMatch is the tag that the object must have.
	get(ctx context.Context, key string, off, n int64, ifMatch string) (answer, error)
	head(ctx context.Context, key string) (objectHead, error)
	// list returns the first objects after a key, and whether there may be more.
	list(ctx context.Context, prefix, after string) (page []Info, more bool, err error)
	// remove deletes at most maxDelete objects.
	remove(ctx context.Context, keys []string) error
	createUpload(ctx context.Context, key string, h putHeader) (id string, err error)
	uploadPart(ctx context.Context, key, id string, number int, b *body) (part, error)
	completeUpload(ctx context.Context, key, id string, parts []part, h putHeader) error
	abortUpload(ctx context.Context, key, id string) error
	// classify returns the class of an error that has none.
	classify(err error) error
	// close closes idle connections.
	close()
}

// maxDelete is how many objects one request may delete.
const maxDelete = 1000

// writerHeader is the metadata that says which Put has written an object.
const writerHeader = "varve-put"

// putHeader is what a new object is to have.
type putHeader struct {
	ifNoneMatch bool
	// checksum says that the parts of an upload bring checksums.
	checksum bool
	// writer is a value of its own for every Put.
	writer string
}

// answer is a server's answer to a get.
type answer struct {
	io.ReadCloser
	// length is that of the body, or negative if the server did not say.
	length int64
	tag    string
}

// ranged is the header Range that asks for n bytes from off on, or all to the end. A whole object is asked for as a range too: then the answer says how long it is also
// behind proxies that drop the length.
func ranged(off, n int64) string {
	if n < 0 {
		return fmt.Sprintf("bytes=%d-", off)
	}
	return fmt.Sprintf("bytes=%d-%d", off, off+n-1)
}

// newAnswer checks that a server has sent the range that it was asked for, and takes its length.
func newAnswer(rc io.ReadCloser, tag string, off, n int64, contentRange string, contentLength int64) (answer, error) {
	a := answer{ReadCloser: rc, length: contentLength, tag: tag}
	if contentRange == "" && off == 0 && (n < 0 || contentLength >= 0 && contentLength <= n) {
		return a, nil // the whole object
	}
	var first, last int64
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/", &first, &last); err != nil || first != off || last < first || n >= 0 && last-first >= n {
		return answer{}, errors.Join(fmt.Errorf("%w: the server has sent the range %q and not %s", ErrTransient, contentRange, ranged(off, n)), rc.Close())
	}
	a.length = last - first + 1
	return a, nil
}

// objectHead is a server's answer to a head.
type objectHead struct {
	Info
	writer string
}

// part is one that was uploaded.
type part struct {
	number   int
	tag, crc string
}
