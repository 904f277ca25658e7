package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// TestRaceDetectorIsOn holds `make test` to its word: a suite that passes
// without the detector proves less than it says. A race is planted in a child
// process, and must be reported.
func TestRaceDetectorIsOn(t *testing.T) {
	t.Parallel()
	if !raceBuild {
		if os.Getenv(envRace) != "" {
			t.Fatalf("%s is set, but this was built without -race", envRace)
		}
		t.Skip("built without -race; make test builds with it")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"=race", "GORACE=exitcode=66")
	out, err := cmd.CombinedOutput()
	if !strings.Contains(string(out), "WARNING: DATA RACE") {
		t.Errorf("the planted race was not reported: %v\n%s", err, out)
	}
}

// plantRace writes a variable from two goroutines without a lock.
func plantRace() {
	var n int
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range 1000 {
				n++
			}
		})
	}
	both.Wait()
	if n < 0 {
		panic("n is used")
	}
}
