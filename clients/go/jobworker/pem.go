package jobworker

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

// FileError reports a certificate or key file that cannot be read or used.
type FileError struct {
	// File is the path of the file.
	File string
	// Problem describes the fault and how to correct it.
	Problem string

	cause error
}

// Error returns the path and the problem.
func (e *FileError) Error() string { return "jobworker: " + e.File + ": " + e.Problem }

// Unwrap returns the error of the operating system or of package tls, or nil.
func (e *FileError) Unwrap() error { return e.cause }

var (
	block = regexp.MustCompile(`(?m)^-----BEGIN ([A-Z0-9 ]+)-----`)
	// PKCS #8 marks an encrypted key in the label (RFC 7468, section 11), PKCS #1 in a header (RFC 1421, 4.6.1.1).
	encrypted = regexp.MustCompile(`-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED`)
)

func readAuthorities(file string) (*x509.CertPool, error) {
	data, err := readCertificates(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return pool, nil
}

func readPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := readCertificates(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readKey(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch {
	case err == nil:
		return pair, nil
	case strings.Contains(err.Error(), "match public key"):
		// Package tls has no error type for this. Its messages for keys of the same and of another type differ.
		return pair, &FileError{keyFile, "the key does not belong to the certificate " + certFile + "; use the key made with it", err}
	}
	return pair, &FileError{keyFile, "the key is damaged; copy the file again", err}
}

// readCertificates returns the content of a file. It fails if a certificate in the file cannot be parsed.
func readCertificates(file string) ([]byte, error) {
	data, err := readPEM(file, "x509")
	if err != nil {
		return nil, err
	}
	if labels := labelsOf(data); !slices.Contains(labels, "CERTIFICATE") {
		return nil, &FileError{file, "the file holds " + strings.Join(labels, ", ") + ", not a certificate", nil}
	}
	if !areCertificates(data) {
		return nil, &FileError{file, "the certificate is damaged; copy the file again", nil}
	}
	return data, nil
}

// areCertificates reports whether the PEM blocks contain a certificate and every certificate can be parsed.
func areCertificates(data []byte) bool {
	found := false
	for next, rest := pem.Decode(data); next != nil; next, rest = pem.Decode(rest) {
		if next.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(next.Bytes); err != nil {
			return false
		}
		found = true
	}
	return found
}

func readKey(file string) ([]byte, error) {
	data, err := readPEM(file, "pkey")
	if err != nil {
		return nil, err
	}
	labels := labelsOf(data)
	switch {
	case encrypted.Match(data):
		return nil, &FileError{file, "the key is encrypted; write it without a passphrase with: openssl pkey -in FILE -out NEW", nil}
	case slices.Contains(labels, "OPENSSH PRIVATE KEY"):
		return nil, &FileError{file, "the file holds an OpenSSH key; convert a copy with: ssh-keygen -p -m PEM -f COPY", nil}
	case !strings.Contains(strings.Join(labels, " "), "PRIVATE KEY"):
		return nil, &FileError{file, "the file holds " + strings.Join(labels, ", ") + ", not a private key", nil}
	}
	return data, nil
}

// readPEM returns the content of a file. It fails if the file has no PEM block. command is the openssl
// subcommand that converts the file.
func readPEM(file, command string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, &FileError{file, "cannot read the file: " + withoutPath(err) +
			"; set Config.Certs (JOBWORKER_CERTS) to the directory with ca.pem, ROLE.pem and ROLE-key.pem", err}
	}
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, &FileError{file, "the file is empty", nil}
	case hasByteOrderMark(data):
		return nil, &FileError{file, "the file begins with a byte order mark; save it as plain ASCII or as UTF-8 without BOM", nil}
	case block.Match(data):
		return data, nil
	case data[0] == 0x30:
		return nil, &FileError{file, "the file is DER, not PEM; convert it with: openssl " + command + " -inform DER -in FILE -out NEW", nil}
	}
	return nil, &FileError{file, "the file is not PEM: no line begins with -----BEGIN", nil}
}

func hasByteOrderMark(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) ||
		bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))
}

func labelsOf(data []byte) []string {
	var labels []string
	for _, match := range block.FindAllSubmatch(data, -1) {
		if label := string(match[1]); !slices.Contains(labels, label) {
			labels = append(labels, label)
		}
	}
	return labels
}

// withoutPath returns the operating system's message without the path, which FileError.Error adds.
func withoutPath(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}
