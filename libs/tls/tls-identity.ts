import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { type Identity, identityOf } from "./identity.ts";

/** PEM files: the authority that everyone here trusts, and a certificate of it with its key. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The same, read. */
export interface TlsPem {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

const lookEveryMs = 10_000;

/**
 * A certificate by which servers and clients prove who they are, and know each other. Its files are looked at every 10 s:
 * a renewed certificate is used for every connection that is made from then on, without a restart.
 */
export class TlsIdentity {
  readonly files: TlsFiles;
  #pem: TlsPem;
  #name: Identity;
  readonly #listeners = new Set<(pem: TlsPem) => void>();
  readonly #timer: NodeJS.Timeout;

  /** Fails with the file's name when one cannot be read, or does not belong to the others. */
  constructor(files: TlsFiles, { everyMs = lookEveryMs }: { readonly everyMs?: number } = {}) {
    this.files = files;
    this.#pem = readPem(files);
    this.#name = checkPem(files, this.#pem);
    this.#timer = setInterval(() => this.#look(), everyMs).unref();
  }

  get pem(): TlsPem {
    return this.#pem;
  }

  get name(): Identity {
    return this.#name;
  }

  /** Until when the certificate that is used now is valid. */
  get expireTime(): Date {
    return new X509Certificate(this.#pem.cert).validToDate;
  }

  /** Tells of each renewal; gives a function that ends it. */
  onRenewal(listener: (pem: TlsPem) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  /** What cannot be used, such as a certificate whose key is not there yet, is passed over until the next look. */
  #look(): void {
    try {
      const pem = readPem(this.files);
      if (isSame(pem, this.#pem)) return;
      this.#name = checkPem(this.files, pem);
      this.#pem = pem;
    } catch {
      return;
    }
    for (const listener of this.#listeners) listener(this.#pem);
  }
}

function readPem({ ca, cert, key }: TlsFiles): TlsPem {
  const read = (variable: string, path: string) => {
    try {
      return readFileSync(path);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`${variable}: ${path} cannot be read (${why})`, { cause });
    }
  };
  return { ca: read("TLS_CA", ca), cert: read("TLS_CERT", cert), key: read("TLS_KEY", key) };
}

/** Gives whom the certificate stands for. */
function checkPem(files: TlsFiles, pem: TlsPem): Identity {
  try {
    createSecureContext(pem);
  } catch (cause) {
    throw new Error(`${files.cert} and ${files.key} do not belong together, or ${files.ca} is no certificate`, {
      cause,
    });
  }
  const certificate = new X509Certificate(pem.cert);
  if (!certificate.verify(new X509Certificate(pem.ca).publicKey)) {
    throw new Error(`${files.cert} was not issued by ${files.ca}`);
  }
  const identity = identityOf(certificate.subjectAltName);
  if (identity === undefined) {
    throw new Error(`${files.cert} does not say whom it stands for: make it with "stillpoint cert"`);
  }
  return identity;
}

const isSame = (one: TlsPem, other: TlsPem): boolean =>
  one.ca.equals(other.ca) && one.cert.equals(other.cert) && one.key.equals(other.key);
