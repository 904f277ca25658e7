package main

import (
	"fmt"
	"strings"
)

// fault is one thing that is wrong with a configuration.
type fault struct {
	key    string
	origin string // "--data-dir", "VARVE_DATA_DIR", "varve.yaml", "default"
	err    error
}

func (f fault) Error() string {
	if f.origin == "" {
		return fmt.Sprintf("%s: %v", f.key, f.err)
	}
	return fmt.Sprintf("%s: %v (from %s)", f.key, f.err, f.origin)
}

// configError holds every fault that was found, so that an operator mends them
// in one go.
type configError struct{ faults []fault }

func (e *configError) Error() string {
	var b strings.Builder
	b.WriteString(counted(int64(len(e.faults)), "fault"))
	b.WriteString(" in the configuration:")
	for _, f := range e.faults {
		b.WriteString("\n  ")
		b.WriteString(f.Error())
	}
	return b.String()
}

func (e *configError) add(key, format string, args ...any) {
	e.faults = append(e.faults, fault{key: key, err: fmt.Errorf(format, args...)})
}

func (e *configError) addFrom(origin, key, format string, args ...any) {
	e.faults = append(e.faults, fault{key: key, origin: origin, err: fmt.Errorf(format, args...)})
}

// has reports whether key is already known to be at fault.
func (e *configError) has(key string) bool {
	for _, f := range e.faults {
		if f.key == key {
			return true
		}
	}
	return false
}

func (e *configError) orNil() error {
	if len(e.faults) == 0 {
		return nil
	}
	return e
}
