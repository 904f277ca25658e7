package objstore

import (
	"io/fs"
	"slices"
	"strings"
)

// keyOrder returns the names in a directory in the order of the keys they begin: a directory sorts as its name and a slash, so that "a-b" comes before "a/b".
// Directories have the slash; temporary files are left out.
func keyOrder(entries []fs.DirEntry) []string {
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch {
		case e.IsDir():
			names = append(names, e.Name()+"/")
		case !strings.HasPrefix(e.Name(), tempPrefix):
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}
