package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// The linker writes these (see the Makefile); a plain `go build` leaves them
// as they are.
var (
	version = "dev"
	commit  = ""
)

// versionInfo is what `varve version` says.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// readVersion prefers what the linker wrote to what the Go tool stamped.
func readVersion() versionInfo {
	v := versionInfo{
		Version: version,
		Commit:  commit,
		Go:      runtime.Version(),
		OS:      runtime.GOOS,
		Arch:    runtime.GOARCH,
	}
	if v.Commit != "" {
		return v
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return v
}

func (v versionInfo) String() string {
	c := v.Commit
	if c == "" {
		c = "unknown commit"
	}
	return fmt.Sprintf("varve %s (%s, %s, %s/%s)", v.Version, c, v.Go, v.OS, v.Arch)
}

func newVersionCmd(s streams) *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if out.json() {
				return writeJSONLine(s.out, readVersion())
			}
			_, err := fmt.Fprintln(s.out, readVersion())
			return err
		},
	}
	out.register(cmd.Flags())
	return cmd
}
