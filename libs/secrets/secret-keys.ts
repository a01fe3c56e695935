import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { StillpointError } from "#libs/errors";

/** What a sealed value begins with, and the version of its form. */
const MARK = Buffer.from("SPS\u0001", "latin1");
const ID_BYTES = 8;
/** Of AES-256-GCM (NIST SP 800-38D): a nonce of 96 bits, random, for at most 2^32 values under a key. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = MARK.length + ID_BYTES + NONCE_BYTES;

interface Key {
  /** The beginning of the key's SHA-256; sealed values name it, so that keys can be rotated. */
  readonly id: string;
  readonly seal: Buffer;
  readonly fingerprint: Buffer;
}

/**
 * Seals values so that only a holder of the key reads them, and only as what they were sealed as. A sealed value is
 * the mark, the key's id, a nonce, the encrypted value and the tag of AES-256-GCM. The first key seals; all open.
 */
export class SecretKeys {
  readonly #keys: readonly Key[];
  readonly #first: Key;

  private constructor(first: Key, others: readonly Key[]) {
    this.#first = first;
    this.#keys = [first, ...others];
  }

  /** @param text a key a line, base64 of 32 random bytes; empty lines and those that begin with # are passed over */
  static parse(text: string): SecretKeys {
    const lines = text.split("\n").map((line) => line.trim());
    const [first, ...others] = lines.filter((line) => line !== "" && !line.startsWith("#")).map(keyOf);
    if (first === undefined) throw new Error("there is no key");
    return new SecretKeys(first, others);
  }

  /** @param name what the value is of; another name does not open it */
  seal(value: Uint8Array, name: string): Uint8Array {
    const nonce = randomBytes(NONCE_BYTES);
    const head = Buffer.concat([MARK, Buffer.from(this.#first.id, "hex"), nonce]);
    const cipher = createCipheriv("aes-256-gcm", this.#first.seal, nonce).setAAD(boundTo(head, name));
    return new Uint8Array(Buffer.concat([head, cipher.update(value), cipher.final(), cipher.getAuthTag()]));
  }

  /** @throws StillpointError SECRET_KEY_MISSING, SECRET_DAMAGED */
  open(sealed: Uint8Array, name: string): Uint8Array {
    const bytes = Buffer.from(sealed);
    if (!isSealed(bytes)) throw new StillpointError("SECRET_DAMAGED", `the value of ${name} is not sealed`);
    const id = idIn(bytes);
    const key = this.#keys.find((candidate) => candidate.id === id) ?? missing(id, name);
    const head = bytes.subarray(0, HEAD_BYTES);
    const cipher = createDecipheriv("aes-256-gcm", key.seal, head.subarray(-NONCE_BYTES));
    cipher.setAAD(boundTo(head, name)).setAuthTag(bytes.subarray(-TAG_BYTES));
    const start = cipher.update(bytes.subarray(HEAD_BYTES, -TAG_BYTES));
    try {
      return new Uint8Array(Buffer.concat([start, cipher.final()]));
    } catch (cause) {
      throw new StillpointError("SECRET_DAMAGED", `the value of ${name} is not what was sealed`, { cause });
    }
  }

  /** Whether the key that seals now has sealed it. */
  isCurrent(sealed: Uint8Array): boolean {
    const bytes = Buffer.from(sealed);
    return isSealed(bytes) && idIn(bytes) === this.#first.id;
  }

  /** Equal for equal values, and tells nothing of them to whoever lacks the key. */
  fingerprint(value: Uint8Array): string {
    return createHmac("sha256", this.#first.fingerprint).update(value).digest("base64");
  }
}

function keyOf(line: string): Key {
  const bytes = Buffer.from(line, "base64");
  if (bytes.length !== 32 || bytes.toString("base64") !== line) throw new Error("a key is not base64 of 32 bytes");
  const derived = (use: string) => Buffer.from(hkdfSync("sha256", bytes, "", `stillpoint ${use}`, 32));
  const id = createHash("sha256").update(bytes).digest("hex");
  return { id: id.slice(0, 2 * ID_BYTES), seal: derived("seal"), fingerprint: derived("fingerprint") };
}

function isSealed(bytes: Buffer): boolean {
  return bytes.length >= HEAD_BYTES + TAG_BYTES && bytes.subarray(0, MARK.length).equals(MARK);
}

function idIn(bytes: Buffer): string {
  return bytes.subarray(MARK.length, MARK.length + ID_BYTES).toString("hex");
}

/** What is authenticated with a value but not in it. */
function boundTo(head: Buffer, name: string): Buffer {
  return Buffer.concat([head, Buffer.from(name)]);
}

function missing(id: string, name: string): never {
  throw new StillpointError("SECRET_KEY_MISSING", `${name}: sealed with key ${id}, which is not among the keys here`, {
    metadata: { key: id },
  });
}
