package objstore_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/varvemq/varve/tiering/objstore"
)

// A child of these tests is this program with one of these jobs, which it does in a directory until it is killed or done.
const (
	childJob  = "VARVE_TEST_DIR_JOB"
	childRoot = "VARVE_TEST_DIR_ROOT"
	childName = "VARVE_TEST_DIR_NAME"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(childJob); job != "" {
		if err := child(job, os.Getenv(childRoot), os.Getenv(childName)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const raceKeys = 200

// child puts objects and says on standard output which Puts have succeeded.
func child(job, root, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // if nobody kills it
	defer cancel()
	d, err := objstore.OpenDir(root)
	if err != nil {
		return err
	}
	switch job {
	case "put":
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("%s/%d/o%d", name, i%7, i%50) // many are replaced
			if err := objstore.PutBytes(ctx, d, key, content(name, i), objstore.PutOptions{}); err != nil {
				return err
			}
			fmt.Println(key, i)
		}
	case "race":
		fmt.Println("ready")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return err
		}
		for i := range raceKeys {
			key := fmt.Sprintf("race/%d", i)
			err := objstore.PutBytes(ctx, d, key, content(name, i), objstore.PutOptions{IfNoneMatch: true})
			switch {
			case err == nil:
				fmt.Println(key, i)
			case !errors.Is(err, objstore.ErrPrecondition):
				return err
			}
		}
	}
	return ctx.Err()
}

// content is what a child puts as its i-th: it says whose it is, and ends in its sum.
func content(name string, i int) []byte {
	b := fmt.Appendf(nil, "%s %d\n", name, i)
	b = append(b, bytes.Repeat([]byte{byte(i)}, (i*7919)%100_000)...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// whose checks that an object is whole, and returns who has put it as the how manieth.
func whose(b []byte) (name string, i int, err error) {
	if _, err := fmt.Fscanf(bytes.NewReader(b), "%s %d\n", &name, &i); err != nil {
		return "", 0, fmt.Errorf("%d bytes: %w", len(b), err)
	}
	if !bytes.Equal(b, content(name, i)) {
		return name, i, fmt.Errorf("%d bytes of %s's object %d are not whole", len(b), name, i)
	}
	return name, i, nil
}

// startChild starts a child, whose standard output the caller reads.
func startChild(t *testing.T, job, root, name string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childJob+"="+job, childRoot+"="+root, childName+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, bufio.NewScanner(out)
}

// TestDirKill: processes that are killed while they put leave whole objects only, and all that they said to have put.
func TestDirKill(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d, err := objstore.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	acked := map[string]int{} // by key, the last one that was said to be put
	seen := 0
	for round := range 12 {
		cmd, _, out := startChild(t, "put", root, fmt.Sprintf("child%d", round))
		kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		left := rand.IntN(40) + 1
		for out.Scan() {
			var key string
			var i int
			if _, err := fmt.Sscanf(out.Text(), "%s %d", &key, &i); err != nil {
				t.Fatalf("%q: %v", out.Text(), err)
			}
			acked[key] = i
			// A reader beside the writer never sees half an object.
			if b, err := objstore.ReadAll(t.Context(), d, key, 1<<20); err != nil {
				t.Error(err)
			} else if _, _, err := whose(b); err != nil {
				t.Error(err)
			}
			if left--; left == 0 {
				time.Sleep(rand.N(3 * time.Millisecond)) // anywhere in a Put
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		_ = cmd.Wait() // it was killed
		kill.Stop()
	}
	temps := 0
	for info, err := range d.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := objstore.ReadAll(t.Context(), d, info.Key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		name, i, err := whose(b)
		if err != nil {
			t.Errorf("%s: %v", info.Key, err)
		}
		if last, ok := acked[info.Key]; ok && i < last || !strings.HasPrefix(info.Key, name+"/") {
			t.Errorf("%s has object %d of %s, but %d was acknowledged", info.Key, i, name, last)
		}
		delete(acked, info.Key)
		seen++
	}
	if len(acked) > 0 || seen == 0 {
		t.Errorf("%d objects are there; acknowledged and missing: %v", seen, acked)
	}
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".tmp-") {
			temps++
		}
		return err
	})
	t.Logf("%d objects, %d temporary files left by kills, %v", seen, temps, err)
}

// TestDirTwoProcesses: of several processes that must create the same objects, exactly one wins each.
func TestDirTwoProcesses(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	type process struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Scanner
	}
	children := map[string]process{}
	for _, name := range []string{"a", "b", "c"} {
		cmd, in, out := startChild(t, "race", root, name)
		if !out.Scan() || out.Text() != "ready" {
			t.Fatalf("child %s: %q, %v", name, out.Text(), out.Err())
		}
		children[name] = process{cmd, in, out}
	}
	for _, c := range children {
		if _, err := io.WriteString(c.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	winner := map[string]string{}
	wins := map[string]int{}
	for name, c := range children {
		for c.out.Scan() {
			key, _, _ := strings.Cut(c.out.Text(), " ")
			if other := winner[key]; other != "" {
				t.Errorf("%s: both %s and %s have won", key, other, name)
			}
			winner[key] = name
			wins[name]++
		}
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("child %s: %v", name, err)
		}
	}
	d, err := objstore.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raceKeys {
		key := fmt.Sprintf("race/%d", i)
		b, err := objstore.ReadAll(t.Context(), d, key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if name, got, err := whose(b); err != nil || name != winner[key] || got != i {
			t.Errorf("%s is %s's %d, %q has won; %v", key, name, got, winner[key], err)
		}
	}
	t.Logf("wins: %v", wins)
}
