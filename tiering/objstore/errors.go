package objstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// The classes of errors. Every error of a driver wraps exactly one of them.
var (
	// ErrNotFound says that there is no such object. (That there is no such bucket is an ErrFatal where the server says so; to a head it cannot.)
	ErrNotFound = errors.New("objstore: not found")
	// ErrPrecondition says that an object exists that was to be created.
	ErrPrecondition = errors.New("objstore: precondition failed")
	// ErrThrottled says that the store asks for fewer requests: retry after a longer pause.
	ErrThrottled = errors.New("objstore: throttled")
	// ErrTransient says that the store did not answer, or answered with a fault of its own: retry. A Put may have been applied.
	ErrTransient = errors.New("objstore: transient")
	// ErrFatal says that a repetition would fail in the same way: credentials, permissions, arguments, no such bucket.
	ErrFatal = errors.New("objstore: fatal")
	// ErrInvalid says that a URL, a key or a range is not acceptable. It comes together with ErrFatal.
	ErrInvalid = errors.New("objstore: invalid")
)

// Retriable reports whether the same call may succeed later without anybody's doing.
func Retriable(err error) bool { return errors.Is(err, ErrThrottled) || errors.Is(err, ErrTransient) }

// Class returns the class that err wraps, or nil.
func Class(err error) error {
	for _, c := range []error{ErrNotFound, ErrPrecondition, ErrThrottled, ErrTransient, ErrFatal} {
		if errors.Is(err, c) {
			return c
		}
	}
	return nil
}

// invalid makes an error of the class fatal.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w: %s", ErrFatal, ErrInvalid, fmt.Sprintf(format, args...))
}

// opError says what failed where. url is without secrets.
func opError(op, url, key string, err error) error {
	if key == "" {
		return fmt.Errorf("%s %s: %w", op, url, err)
	}
	return fmt.Errorf("%s %s in %s: %w", op, key, url, err)
}

const codeNoSuchUpload = "NoSuchUpload"

// classifyHTTP classifies an answer of an S3 server by its code, which is more telling, and then its status.
func classifyHTTP(code string, status int) error {
	switch code {
	case "NoSuchKey", "NotFound":
		return ErrNotFound
	case "NoSuchBucket":
		return ErrFatal
	case "PreconditionFailed":
		return ErrPrecondition
	case "SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "SlowDownRead", "SlowDownWrite":
		return ErrThrottled
	case "RequestTimeout", "InternalError", "XMinioServerNotInitialized", "OperationAborted",
		"ConditionalRequestConflict",                                                                               // S3 could not decide between two writers: neither has to have won
		codeNoSuchUpload,                                                                                           // given up by others, or by a completion whose answer was lost: a new Put may succeed
		"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "InvalidDigest", "IncompleteBody": // damaged on the way
		return ErrTransient
	}
	switch {
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusPreconditionFailed:
		return ErrPrecondition
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable: // S3's answer to a head has no code
		return ErrThrottled
	case status == http.StatusRequestTimeout || status >= 500:
		return ErrTransient
	case status >= 400:
		return ErrFatal
	}
	return nil
}

// classifyLocal classifies an error that is not an answer of a server.
func classifyLocal(err error) error {
	var cert *tls.CertificateVerificationError
	var request *url.Error
	var op *net.OpError
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &cert), errors.Is(err, http.ErrSchemeMismatch):
		return ErrFatal
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ENOSPC),
		errors.As(err, &op), errors.As(err, &dns), errors.As(err, &timeout) && timeout.Timeout(),
		errors.As(err, &request): // there was no answer; minio-go hides why
		return ErrTransient
	default:
		return ErrFatal
	}
}
