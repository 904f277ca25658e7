package objstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options are what does not belong into a URL. The zero value takes credentials from where the driver's SDK looks for them: the environment and files of AWS,
// and for minio:// the environment of MinIO too.
type Options struct {
	AccessKey, SecretKey, SessionToken string
	// DialTimeout bounds the establishment of a connection. Default: 5 s.
	DialTimeout time.Duration
	// MaxAttempts bounds the attempts of a request, the first included. Default: 3.
	MaxAttempts int
}

func (o Options) withDefaults() Options {
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 3
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
	if len(faults) == 0 {
		return nil
	}
	return invalid("object store: %v", errors.Join(faults...))
}

// Open opens the store that a URL names, with credentials from the environment:
//
//	/path or file:///path                              a directory
//	s3://bucket/prefix?region=…&endpoint=…             S3, or a server that speaks its protocol
//	minio://host:port/bucket/prefix?secure=false       MinIO (secure is true by default)
//	mem:                                               memory, for tests
//
// It does not talk to the store: [Store.Check] does.
func Open(ctx context.Context, rawURL string) (Store, error) { return OpenWith(ctx, rawURL, Options{}) }

// OpenWith is [Open] with options.
func OpenWith(ctx context.Context, rawURL string, opts Options) (Store, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	opts = opts.withDefaults()
	scheme, _, ok := strings.Cut(rawURL, ":")
	if !ok || strings.Contains(scheme, "/") {
		if rawURL == "" {
			return nil, invalid("object store: empty URL")
		}
		return notNil(OpenDir(rawURL))
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
		return notNil(OpenDir(u.Path))
	case "mem":
		return NewMem(), nil
	case "s3":
		return notNil(openS3(ctx, u, opts))
	case "minio":
		return notNil(openMinIO(u, opts))
	}
	return nil, invalid("object store: unknown scheme %q: want a path, file, s3, minio or mem", u.Scheme)
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

// tuneTransport bounds an HTTP transport's waits for a server.
func tuneTransport(t *http.Transport, opts Options) {
	t.DialContext = (&net.Dialer{Timeout: opts.DialTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = opts.DialTimeout
	t.ResponseHeaderTimeout = time.Minute
	t.MaxIdleConns, t.MaxIdleConnsPerHost, t.IdleConnTimeout = 128, 64, 90*time.Second
	t.DisableCompression = true
}
