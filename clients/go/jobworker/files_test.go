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

// change makes the file that cannot be used from one that can.
type change func(t *testing.T, data []byte, file string)

func with(replace func(data []byte) []byte) change {
	return func(t *testing.T, data []byte, file string) {
		t.Helper()
		must(t, os.WriteFile(file, replace(data), 0o600))
	}
}

func encodedUTF16(data []byte) []byte {
	found := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(string(data))) {
		found = append(found, byte(unit), byte(unit>>8))
	}
	return found
}

func der(data []byte) []byte {
	found, _ := pem.Decode(data)
	return found.Bytes
}

func relabelled(label string) change {
	return with(func(data []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der(data)})
	})
}

var broken = map[string]struct {
	make  change
	words string
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
	// Nobody can open it, root included.
	"unreadable": {func(t *testing.T, _ []byte, file string) { must(t, os.Symlink(file, file)) }, "symbolic links"},
	"missing":    {func(*testing.T, []byte, string) {}, "no such file"},
}

var brokenKeys = map[string]struct {
	make  change
	words string
}{
	"encrypted": {relabelled("ENCRYPTED PRIVATE KEY"), "the key is encrypted"},
	"encrypted in the older form": {with(func(data []byte) []byte {
		return bytes.Replace(data, []byte("-\n"), []byte("-\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n"), 1)
	}), "the key is encrypted"},
	"OpenSSH": {relabelled("OPENSSH PRIVATE KEY"), "an OpenSSH key"},
}

func assertUnusable(t *testing.T, config Config, file, words string) {
	t.Helper()
	_, err := Dial(config)
	var unusable *FileError
	if !errors.As(err, &unusable) || unusable.File != file || !strings.Contains(unusable.Problem, words) {
		t.Errorf("%s: the error does not say %q: %v", file, words, err)
	}
}

func TestBrokenFilesAreErrorsThatSayWhatTheyAre(t *testing.T) {
	a := newAuthority(t)
	for name, set := range map[string]func(config *Config, file string){
		"ca.pem":        func(config *Config, file string) { config.CA = file },
		"admin.pem":     func(config *Config, file string) { config.Cert = file },
		"admin-key.pem": func(config *Config, file string) { config.Key = file },
	} {
		data, err := os.ReadFile(filepath.Join(a.folder, name))
		must(t, err)
		check := func(make change, words string) {
			file := filepath.Join(t.TempDir(), name)
			make(t, data, file)
			config := Config{Certs: a.folder}
			set(&config, file)
			assertUnusable(t, config, file, words)
		}
		for _, each := range broken {
			check(each.make, each.words)
		}
		if strings.Contains(name, "key") {
			for _, each := range brokenKeys {
				check(each.make, each.words)
			}
		}
	}
}

func TestFilesInTheWrongPlace(t *testing.T) {
	a, another := newAuthority(t), newAuthority(t)
	cert, key := filepath.Join(a.folder, "admin.pem"), filepath.Join(a.folder, "admin-key.pem")
	theirs := filepath.Join(another.folder, "admin-key.pem")
	assertUnusable(t, Config{Certs: a.folder, CA: key}, key, "the file holds PRIVATE KEY, not a certificate")
	assertUnusable(t, Config{Certs: a.folder, Cert: key}, key, "the file holds PRIVATE KEY, not a certificate")
	assertUnusable(t, Config{Certs: a.folder, Key: cert}, cert, "the file holds CERTIFICATE, not a private key")
	assertUnusable(t, Config{Certs: a.folder, Key: theirs}, theirs, "does not belong to the certificate "+cert)
}

func TestAMissingFileSaysWhatToSet(t *testing.T) {
	_, err := Dial(Config{Certs: "/nowhere"})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "JOBWORKER_CERTS") {
		t.Errorf("the error is %v", err)
	}
}
