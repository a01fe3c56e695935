import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { identityOf } from "./identity.ts";

const dayMs = 86_400_000;

/** What a PEM file says of its certificate. */
export async function readCertificate(file: string, now = new Date()) {
  const certificate = new X509Certificate(await readFile(file));
  const until = new Date(certificate.validTo);
  const names = (certificate.subjectAltName ?? "")
    .split(", ")
    .map((entry) => /^(?:DNS|IP Address):(.+)$/.exec(entry)?.[1])
    .filter((name) => name !== undefined);
  return {
    subject: identityOf(certificate.subjectAltName) ?? certificate.subject.replace(/^CN=/, ""),
    names,
    validUntil: until.toISOString(),
    daysLeft: Math.floor((until.getTime() - now.getTime()) / dayMs),
    file,
  };
}
