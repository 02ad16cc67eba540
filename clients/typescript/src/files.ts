/** The three PEM files of a connection, read and checked: a fault names its file and says how to cure it. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContext } from "node:tls";
import { ConfigurationError } from "./errors.js";

const BLOCK = /^-----BEGIN ([A-Z0-9 ]+)-----/gm;
const CERTIFICATE = /^-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/gm;
const KEY = /(^| )PRIVATE KEY$/;
const BYTE_ORDER_MARK = /^(\u00ef\u00bb\u00bf|\u00ff\u00fe|\u00fe\u00ff)/;
const DER = "\x30";

// In the labels of PKCS #8 and in the headers of the older form (RFC 7468, section 11; RFC 1421, 4.6.1.1).
const ENCRYPTED = /-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/;

/** Reads the CA's certificate, the client's and its key; throws a ConfigurationError if one cannot be used. */
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

/** Returns the text of a file that has at least one PEM block. */
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

/** Returns a file's bytes, one character each. */
function read(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch (error) {
    throw fault(
      file,
      `cannot read the file (${messageOf(error)}): set certs (JOBWORKER_CERTS) to the directory with ca.pem, ` +
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

function fault(file: string, problem: string, cause?: unknown): ConfigurationError {
  return new ConfigurationError(`${file}: ${problem}`, { cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
