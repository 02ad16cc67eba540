package jobworker

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

// corrupt writes an unusable file made from usable data.
type corrupt func(t *testing.T, data []byte, file string)

func with(replace func(data []byte) []byte) corrupt {
	return func(t *testing.T, data []byte, file string) {
		t.Helper()
		must(t, os.WriteFile(file, replace(data), 0o600))
	}
}

func encodedUTF16(data []byte) []byte {
	encoded := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(string(data))) {
		encoded = append(encoded, byte(unit), byte(unit>>8))
	}
	return encoded
}

func der(data []byte) []byte {
	block, _ := pem.Decode(data)
	return block.Bytes
}

func relabelled(label string) corrupt {
	return with(func(data []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der(data)})
	})
}

var broken = map[string]struct {
	write   corrupt
	problem string
}{
	"empty":        {with(func([]byte) []byte { return nil }), "the file is empty"},
	"blank":        {with(func([]byte) []byte { return []byte("\n \n") }), "the file is empty"},
	"with a BOM":   {with(func(data []byte) []byte { return append([]byte("\xef\xbb\xbf"), data...) }), "byte order mark"},
	"UTF-16":       {with(encodedUTF16), "byte order mark"},
	"text":         {with(func([]byte) []byte { return []byte("this is text\n") }), "not PEM"},
	"DER":          {with(der), "is DER, not PEM"},
	"cut":          {with(func(data []byte) []byte { return data[:len(data)/2] }), "is damaged"},
	"another type": {relabelled("PUBLIC KEY"), "the file holds PUBLIC KEY, not a"},
	"damaged": {with(func(data []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: labelsOf(data)[0], Bytes: der(data)[10:]})
	}), "is damaged"},
	"a directory": {func(t *testing.T, _ []byte, file string) { must(t, os.Mkdir(file, 0o700)) }, "directory"},
	// A symbolic link to itself cannot be opened, not even by root.
	"unreadable": {func(t *testing.T, _ []byte, file string) { must(t, os.Symlink(file, file)) }, "symbolic links"},
	"missing":    {func(*testing.T, []byte, string) {}, "no such file"},
}

var brokenKeys = map[string]struct {
	write   corrupt
	problem string
}{
	"encrypted": {relabelled("ENCRYPTED PRIVATE KEY"), "the key is encrypted"},
	"encrypted PKCS #1": {with(func(data []byte) []byte {
		return bytes.Replace(data, []byte("-\n"), []byte("-\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"), 1)
	}), "the key is encrypted"},
	"OpenSSH": {relabelled("OPENSSH PRIVATE KEY"), "an OpenSSH key"},
}

func assertUnusable(t *testing.T, config Config, file, problem string) {
	t.Helper()
	_, err := Dial(config)
	var unusable *FileError
	if !errors.As(err, &unusable) || unusable.File != file || !strings.Contains(unusable.Problem, problem) {
		t.Errorf("%s: the error does not contain %q: %v", file, problem, err)
	}
}

func TestUnusableFiles(t *testing.T) {
	a := newAuthority(t)
	for name, set := range map[string]func(config *Config, file string){
		"ca.pem":        func(config *Config, file string) { config.CA = file },
		"admin.pem":     func(config *Config, file string) { config.Cert = file },
		"admin-key.pem": func(config *Config, file string) { config.Key = file },
	} {
		data, err := os.ReadFile(filepath.Join(a.directory, name))
		must(t, err)
		check := func(write corrupt, problem string) {
			file := filepath.Join(t.TempDir(), name)
			write(t, data, file)
			config := Config{Certs: a.directory}
			set(&config, file)
			assertUnusable(t, config, file, problem)
		}
		for _, each := range broken {
			check(each.write, each.problem)
		}
		if strings.Contains(name, "key") {
			for _, each := range brokenKeys {
				check(each.write, each.problem)
			}
		}
	}
}

func TestSwappedFiles(t *testing.T) {
	a, another := newAuthority(t), newAuthority(t)
	cert, key := filepath.Join(a.directory, "admin.pem"), filepath.Join(a.directory, "admin-key.pem")
	otherKey := filepath.Join(another.directory, "admin-key.pem")
	assertUnusable(t, Config{Certs: a.directory, CA: key}, key, "the file holds PRIVATE KEY, not a certificate")
	assertUnusable(t, Config{Certs: a.directory, Cert: key}, key, "the file holds PRIVATE KEY, not a certificate")
	assertUnusable(t, Config{Certs: a.directory, Key: cert}, cert, "the file holds CERTIFICATE, not a private key")
	assertUnusable(t, Config{Certs: a.directory, Key: otherKey}, otherKey, "does not belong to the certificate "+cert)
}

func TestMissingFileNamesTheVariable(t *testing.T) {
	_, err := Dial(Config{Certs: "/nowhere"})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "JOBWORKER_CERTS") {
		t.Errorf("the error is %v", err)
	}
}
