import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { Client } from "@jobworker/client";
import { Certificates } from "./server.js";

const certs = new Certificates();
after(() => certs[Symbol.dispose]());

const at = (name: string): string => join(certs.directory, name);

type Write = (text: string, file: string) => void;

const as =
  (change: (text: string) => string | Buffer): Write =>
  (text, file) =>
    writeFileSync(file, change(text));

const BROKEN: [string, Write, RegExp][] = [
  ["empty", as(() => ""), /the file is empty/],
  ["blank", as(() => "\n \n"), /the file is empty/],
  ["with a BOM", as((text) => `\ufeff${text}`), /byte order mark/],
  ["UTF-16", as((text) => Buffer.from(`\ufeff${text}`, "utf16le")), /byte order mark/],
  ["text", as(() => "this is text\n"), /not PEM/],
  ["damaged", as((text) => text.replace(/\n./, "\n!")), /is damaged/],
  ["cut", as((text) => text.slice(0, text.length / 2)), /is damaged/],
  ["a directory", (_, file) => mkdirSync(file), /directory/],
  // A symbolic link to itself cannot be opened, not even by root.
  ["unreadable", (_, file) => symlinkSync(file, file), /symbolic link/],
  ["missing", () => undefined, /cannot read the file .*set certs \(JOBWORKER_CERTS\)/],
];

const CERTIFICATES: typeof BROKEN = [
  ...BROKEN,
  ["DER", as((text) => new X509Certificate(text).raw), /is DER, not PEM/],
  [
    "another type",
    as((text) => text.replaceAll("CERTIFICATE", "PUBLIC KEY")),
    /holds PUBLIC KEY, not a cert/,
  ],
];

const encrypted = (type: "pkcs1" | "pkcs8"): Write =>
  as((text) =>
    createPrivateKey(text)
      .export({ type, format: "pem", cipher: "aes-256-cbc", passphrase: "secret" })
      .toString(),
  );

const KEYS: typeof BROKEN = [
  ...BROKEN,
  ["DER", as((text) => createPrivateKey(text).export({ type: "pkcs8", format: "der" })), /is DER, not PEM/],
  ["encrypted", encrypted("pkcs8"), /the key is encrypted/],
  ["encrypted PKCS #1", encrypted("pkcs1"), /the key is encrypted/],
  ["OpenSSH", as((text) => text.replaceAll("PRIVATE", "OPENSSH PRIVATE")), /an OpenSSH key/],
];

const assertUnusable = (options: Record<string, string>, file: string, message: RegExp): void => {
  const expected = { name: "ConfigError", message: new RegExp(`^${file}: .*${message.source}`) };
  assert.throws(() => new Client({ certs: certs.directory, ...options }), expected);
};

for (const [option, name, broken] of [
  ["ca", "ca.pem", CERTIFICATES],
  ["cert", "admin.pem", CERTIFICATES],
  ["key", "admin-key.pem", KEYS],
] as const) {
  for (const [kind, write, message] of broken) {
    test(`an unusable file is an error: ${option} ${kind}`, () => {
      const directory = mkdtempSync(at("broken-"));
      write(certs.read(name).toString(), join(directory, name));
      assertUnusable({ [option]: join(directory, name) }, join(directory, name), message);
      rmSync(directory, { recursive: true });
    });
  }
}

for (const [option, name, message] of [
  ["ca", "admin-key.pem", /holds PRIVATE KEY, not a certificate/],
  ["cert", "admin-key.pem", /holds PRIVATE KEY, not a certificate/],
  ["key", "admin.pem", /holds CERTIFICATE, not a private key/],
  ["key", "viewer-key.pem", /does not belong to the certificate/],
] as const) {
  test(`a swapped file is an error: ${name} as ${option}`, () => {
    assertUnusable({ [option]: at(name) }, at(name), message);
  });
}
