package objstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what does not belong into a URL. The zero value takes credentials from where the driver's SDK looks for them: the environment and files of AWS,
// and for minio:// the environment of MinIO too.
type Options struct {
	AccessKey, SecretKey, SessionToken string
	// DialTimeout bounds the establishment of a connection. Default: 5 s.
	DialTimeout time.Duration
	// MaxAttempts bounds the attempts of a request, the first included. Default: 4.
	MaxAttempts int
	// MultipartThreshold is the size above which an object is uploaded in parts. Default: 256 MiB. At most 5 GiB.
	MultipartThreshold int64
	// PartSize is that of the parts. At least 5 MiB; default: 64 MiB. An object that would have more than 10,000 parts has larger ones.
	PartSize int64
	// Registerer gets the metrics of requests and bytes; several stores of a process share them. Nil: there are none.
	Registerer prometheus.Registerer

	metrics *metrics
}

func (o Options) withDefaults() Options {
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 4
	}
	if o.MultipartThreshold == 0 {
		o.MultipartThreshold = 256 << 20
	}
	if o.PartSize == 0 {
		o.PartSize = 64 << 20
	}
	return o
}

// Validate reports all faults at once, wrapping [ErrInvalid].
func (o Options) Validate() error {
	var faults []error
	if (o.AccessKey == "") != (o.SecretKey == "") {
		faults = append(faults, errors.New("access_key and secret_key: one without the other"))
	}
	if o.DialTimeout < 0 {
		faults = append(faults, fmt.Errorf("dial_timeout: %v is negative", o.DialTimeout))
	}
	if o.MaxAttempts < 0 {
		faults = append(faults, fmt.Errorf("max_attempts: %d is negative", o.MaxAttempts))
	}
	if o.MultipartThreshold < 0 || o.MultipartThreshold > maxPutSize {
		faults = append(faults, fmt.Errorf("multipart_threshold: %d is not from 0 to %d", o.MultipartThreshold, int64(maxPutSize)))
	}
	if o.PartSize != 0 && o.PartSize < minPartSize || o.PartSize > maxPutSize {
		faults = append(faults, fmt.Errorf("part_size: %d is not from %d to %d", o.PartSize, minPartSize, int64(maxPutSize)))
	}
	if len(faults) == 0 {
		return nil
	}
	return invalid("object store: %v", errors.Join(faults...))
}

// Open opens the store that a URL names, with credentials from the environment:
//
//	/path or file:///path                              a directory
//	s3://bucket/prefix?region=…&endpoint=…             S3, or a server that speaks its protocol
//	minio://host:port/bucket/prefix?secure=false       MinIO and others (secure is true by default)
//	mem:                                               memory, for tests
//
// Both servers take path_style=true|false (default: true, but for s3 without an endpoint), region=…, sse=AES256|aws:kms with kms_key=… for encryption by the server, and
// checksum=crc32c|none: with crc32c, the default, every body brings its checksum, and the server refuses one that was damaged on the way.
//
// It does not talk to the store: [Store.Check] does.
func Open(ctx context.Context, rawURL string) (Store, error) { return OpenWith(ctx, rawURL, Options{}) }

// OpenWith is [Open] with options.
func OpenWith(ctx context.Context, rawURL string, opts Options) (Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	var err error
	if opts.metrics, err = newMetrics(opts.Registerer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFatal, err)
	}
	scheme, _, ok := strings.Cut(rawURL, ":")
	if !ok || strings.Contains(scheme, "/") {
		if rawURL == "" {
			return nil, invalid("object store: empty URL")
		}
		return openDir(rawURL, opts)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, invalid("object store: the %s URL cannot be parsed", scheme) // its text may hold a secret
	}
	if u.User != nil {
		return nil, invalid("object store %s://%s: credentials do not belong into the URL", u.Scheme, u.Host)
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" || u.Path == "" || u.RawQuery != "" {
			return nil, invalid("object store %s: want file:///path", rawURL)
		}
		return openDir(u.Path, opts)
	case "mem":
		return measured{NewMem(), opts.metrics}, nil
	case "s3":
		return notNil(openS3(ctx, u, opts))
	case "minio":
		return notNil(openMinIO(u, opts))
	}
	return nil, invalid("object store: unknown scheme %q: want a path, file, s3, minio or mem", u.Scheme)
}

// openDir is [OpenDir] with metrics.
func openDir(root string, opts Options) (Store, error) {
	d, err := OpenDir(root)
	if err != nil {
		return nil, err
	}
	return measured{d, opts.metrics}, nil
}

// notNil keeps a nil pointer from becoming an interface that is not nil.
func notNil[S Store](s S, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// place is a bucket and what stands before each key in it.
type place struct {
	bucket, prefix string
	url            string
}

// newPlace takes the prefix, without slashes at its ends, from a path.
func newPlace(bucket, path, url string) (place, error) {
	p := place{bucket: bucket, url: url}
	if bucket == "" {
		return p, invalid("object store %s: no bucket", url)
	}
	if path = strings.Trim(path, "/"); path != "" {
		if err := ValidateKey(path); err != nil {
			return p, fmt.Errorf("object store %s: prefix: %w", url, err)
		}
		p.prefix = path + "/"
	}
	return p, nil
}

// query checks that a URL has no parameters but the known ones, and returns them.
func query(u *url.URL, known ...string) (map[string]string, error) {
	out := map[string]string{}
	for key, values := range u.Query() {
		ok := false
		for _, k := range known {
			ok = ok || k == key
		}
		if !ok || len(values) != 1 {
			return nil, invalid("object store %s://%s: parameter %q: want at most one each of %v", u.Scheme, u.Host, key, known)
		}
		out[key] = values[0]
	}
	return out, nil
}

// flag parses a boolean parameter.
func flag(params map[string]string, key string, otherwise bool) (bool, error) {
	v, ok := params[key]
	if !ok {
		return otherwise, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, invalid("object store: parameter %s=%q is not a boolean", key, v)
	}
	return b, nil
}

// checksums parses the parameter that turns request checksums off.
func checksums(params map[string]string) (bool, error) {
	switch v := params["checksum"]; v {
	case "", "crc32c":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, invalid("object store: parameter checksum=%q: want crc32c or none", v)
	}
}

// The methods of encryption by the server.
const (
	sseS3  = "AES256"
	sseKMS = "aws:kms"
)

// encryption is what the server is asked to encrypt with; the zero value leaves it to the bucket.
type encryption struct{ method, key string }

func newEncryption(params map[string]string) (encryption, error) {
	e := encryption{method: params["sse"], key: params["kms_key"]}
	switch {
	case e.method != "" && e.method != sseS3 && e.method != sseKMS:
		return e, invalid("object store: parameter sse=%q: want %s or %s", e.method, sseS3, sseKMS)
	case e.key != "" && e.method != sseKMS:
		return e, invalid("object store: parameter kms_key without sse=%s", sseKMS)
	}
	return e, nil
}
