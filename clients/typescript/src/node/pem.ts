/** Reads and checks the PEM files of a connection. An error names the file and how to correct it. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContext } from "node:tls";
import { ConfigError } from "../core/errors.js";

const BLOCK = /^-----BEGIN ([A-Z0-9 ]+)-----/gm;
const CERTIFICATE = /^-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/gm;
const KEY = /(^| )PRIVATE KEY$/;
const BYTE_ORDER_MARK = /^(\u00ef\u00bb\u00bf|\u00ff\u00fe|\u00fe\u00ff)/;
const DER = "\x30";

// PKCS #8 marks an encrypted key in the label (RFC 7468, section 11), PKCS #1 in a header (RFC 1421, 4.6.1.1).
const ENCRYPTED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/;

/**
 * Reads the CA certificate, the client certificate and the client key.
 *
 * @throws ConfigError if a file is unusable.
 */
export function readSecureContext(ca: string, cert: string, key: string): SecureContext {
  const caText = readCertificates(ca);
  const certText = readCertificates(cert);
  const keyText = readKey(key);
  if (!new X509Certificate(certText).checkPrivateKey(parsed(key, "key", () => createPrivateKey(keyText)))) {
    throw fault(key, `the key does not belong to the certificate ${cert}; use the key made with it`);
  }
  try {
    return createSecureContext({ ca: caText, cert: certText, key: keyText, minVersion: "TLSv1.3" });
  } catch (error) {
    throw fault(`${ca}, ${cert} and ${key}`, `the files cannot be used: ${messageOf(error)}`, error);
  }
}

function readCertificates(file: string): string {
  const text = readPem(file, "x509");
  const labels = labelsOf(text);
  if (!labels.includes("CERTIFICATE")) {
    throw fault(file, `the file holds ${labels.join(", ")}, not a certificate`);
  }
  parsed(file, "certificate", () => {
    for (const block of text.match(CERTIFICATE) ?? [text]) {
      new X509Certificate(block);
    }
  });
  return text;
}

function readKey(file: string): string {
  const text = readPem(file, "pkey");
  const labels = labelsOf(text);
  if (ENCRYPTED.test(text)) {
    throw fault(
      file,
      "the key is encrypted; write it without a passphrase with: openssl pkey -in FILE -out NEW",
    );
  }
  if (labels.includes("OPENSSH PRIVATE KEY")) {
    throw fault(file, "the file holds an OpenSSH key; convert a copy with: ssh-keygen -p -m PEM -f COPY");
  }
  if (!labels.some((label) => KEY.test(label))) {
    throw fault(file, `the file holds ${labels.join(", ")}, not a private key`);
  }
  return text;
}

/** Reads a file with at least one PEM block. `command` is the openssl subcommand that converts the file. */
function readPem(file: string, command: string): string {
  const text = read(file);
  if (text.trim() === "") {
    throw fault(file, "the file is empty");
  }
  if (BYTE_ORDER_MARK.test(text)) {
    throw fault(
      file,
      "the file begins with a byte order mark; save it as plain ASCII or as UTF-8 without BOM",
    );
  }
  if (labelsOf(text).length > 0) {
    return text;
  }
  if (text.startsWith(DER)) {
    throw fault(
      file,
      `the file is DER, not PEM; convert it with: openssl ${command} -inform DER -in FILE -out NEW`,
    );
  }
  throw fault(file, "the file is not PEM: no line begins with -----BEGIN");
}

/** Reads a file as Latin-1, which maps each byte to one character. */
function read(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch (error) {
    throw fault(
      file,
      `cannot read the file (${messageOf(error)}); set certs (JOBWORKER_CERTS) to the directory with ca.pem, ` +
        "ROLE.pem and ROLE-key.pem, or ca, cert and key",
      error,
    );
  }
}

function labelsOf(text: string): string[] {
  return [...new Set([...text.matchAll(BLOCK)].map((match) => match[1] ?? ""))];
}

function parsed<T>(file: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw fault(file, `the ${what} is damaged; copy the file again`, error);
  }
}

function fault(file: string, problem: string, cause?: unknown): ConfigError {
  return new ConfigError(`${file}: ${problem}`, { cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
