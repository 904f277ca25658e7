package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	envPrefix     = "VARVE_"
	envConfig     = "VARVE_CONFIG"
	originDefault = "default"
	keyDelimiter  = "."
)

// loadedConfig is a configuration and, for each key, where its value is from.
type loadedConfig struct {
	serverConfig
	origins map[string]string
}

// loadConfig puts a configuration together: the defaults, over them the
// environment, over that the YAML file at path ("" for none), over that the
// flags that were given. The error, a *configError, lists every fault of every
// source: unknown keys, values of the wrong kind, values that Validate refuses.
func loadConfig(flags *pflag.FlagSet, path string, environ []string) (loadedConfig, error) {
	var faults configError
	known := map[string]setting{}
	origins := map[string]string{}
	for _, s := range settings() {
		known[s.key] = s
		origins[s.key] = originDefault
	}

	all := koanf.New(keyDelimiter)
	for _, layer := range []configLayer{
		envLayer(environ, known, &faults),
		fileLayer(path, &faults),
		flagLayer(flags, known),
	} {
		for _, key := range layer.Keys() {
			if _, ok := known[key]; !ok {
				faults.addFrom(layer.origin(key), key, "no such key%s", suggest(key))
				layer.Delete(key)
				continue
			}
			origins[key] = layer.origin(key)
		}
		if err := all.Merge(layer.Koanf); err != nil {
			faults.addFrom("", "config", "%w", err)
		}
	}

	c := defaultConfig()
	for _, s := range settings() {
		if !all.Exists(s.key) {
			continue
		}
		text, err := scalarText(all.Get(s.key))
		if err == nil {
			err = s.parse(&c, text)
		}
		if err != nil {
			faults.addFrom(origins[s.key], s.key, "%w", err)
		}
	}
	if origins["wal-hot"] == originDefault {
		c.WALHot = min(c.WALHot, c.WALLimit) // a smaller log needs no second flag
	}
	unread := faults // their keys have defaults now, of which nobody wants to hear
	if invalid, ok := errors.AsType[*configError](c.Validate()); ok {
		for _, f := range invalid.faults {
			if !unread.has(f.key) {
				faults.addFrom(origins[f.key], f.key, "%w", f.err)
			}
		}
	}
	return loadedConfig{serverConfig: c, origins: origins}, faults.orNil()
}

// configLayer is one source of configuration, and how it names a key.
type configLayer struct {
	*koanf.Koanf
	origin func(key string) string
}

func flagLayer(flags *pflag.FlagSet, known map[string]setting) configLayer {
	k := koanf.New(keyDelimiter)
	changed := func(f *pflag.Flag) (string, any) {
		if _, ok := known[f.Name]; !ok {
			return "", nil // --config, --help and such
		}
		return f.Name, f.Value.String()
	}
	// The provider cannot fail: it walks flags in memory.
	_ = k.Load(posflag.ProviderWithFlag(flags, keyDelimiter, nil, changed), nil)
	return configLayer{Koanf: k, origin: func(key string) string { return "--" + key }}
}

func fileLayer(path string, faults *configError) configLayer {
	k := koanf.New(keyDelimiter)
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			faults.addFrom(path, "config", "%w", err)
		}
	}
	return configLayer{Koanf: k, origin: func(string) string { return path }}
}

func envLayer(environ []string, known map[string]setting, faults *configError) configLayer {
	byName := map[string]string{}
	for key, s := range known {
		byName[s.env()] = key
	}
	k := koanf.New(keyDelimiter)
	provider := env.Provider(keyDelimiter, env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if name == envConfig || isTestVariable(name) {
				return "", nil
			}
			key, ok := byName[name]
			if !ok {
				faults.addFrom("the environment", name, "no such variable%s", suggestEnv(name))
			}
			return key, value
		},
	})
	// The provider cannot fail: it reads a slice.
	_ = k.Load(provider, nil)
	return configLayer{Koanf: k, origin: func(key string) string { return known[key].env() }}
}

// isTestVariable reports whether a variable belongs to the test suites; a
// server that they start passes it over. CONTRIBUTING.md says what each does.
func isTestVariable(name string) bool {
	switch name {
	case "VARVE_LONG", "VARVE_SEED", "VARVE_NAMESRV":
		return true
	}
	return strings.HasPrefix(name, "VARVE_TEST_") || strings.HasPrefix(name, "VARVE_CRASH_")
}

// scalarText turns a value of a YAML file into the text that a flag would have
// had. A list becomes its items with commas between them.
func scalarText(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", errors.New("has no value")
	case string:
		return v, nil
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	case []any:
		items := make([]string, 0, len(v))
		for _, item := range v {
			text, err := scalarText(item)
			if err != nil {
				return "", err
			}
			items = append(items, text)
		}
		return strings.Join(items, ","), nil
	case time.Time:
		return "", errors.New("a time is no value for this key")
	default:
		return "", errors.New("must be a plain value, not a table")
	}
}

// suggest names the key that was probably meant: the same letters, other
// punctuation or case.
func suggest(key string) string {
	for _, s := range settings() {
		if letters(s.key) == letters(key) {
			return fmt.Sprintf(": did you mean %s?", s.key)
		}
	}
	return ""
}

func suggestEnv(name string) string {
	for _, s := range settings() {
		if letters(s.env()) == letters(name) {
			return fmt.Sprintf(": did you mean %s?", s.env())
		}
	}
	return ""
}

func letters(s string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(s))
}

// writeConfig writes c as the YAML file that would make it, each key with the
// place its value is from.
func writeConfig(w io.Writer, c loadedConfig) error {
	var b strings.Builder
	group := ""
	for _, s := range settings() {
		if s.group != group {
			if group != "" {
				b.WriteString("\n")
			}
			group = s.group
			fmt.Fprintf(&b, "# %s\n", group)
		}
		text, origin := s.show(c.serverConfig), c.origins[s.key]
		if text == "" && s.unset != "" {
			origin += ": " + s.unset
		}
		var value any = text
		if s.typ == "" {
			value = text == "true"
		}
		line, err := yaml.Parser().Marshal(map[string]any{s.key: value})
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%-40s # %s\n", strings.TrimSuffix(string(line), "\n"), origin)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
