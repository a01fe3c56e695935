import { createPrivateKey, type KeyObject, sign } from "node:crypto";
import { createAccount, fromSeed } from "@nats-io/nkeys";

/** Of an Ed25519 key in PKCS #8 (RFC 8410), before its 32 bytes. */
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");

const encode = (text: string): string => Buffer.from(text).toString("base64url");
const header = encode(JSON.stringify({ typ: "JWT", alg: "ed25519-nkey" }));

/** Who signs what nats-server is to believe of its clients: an account's key in NATS's own form (nkeys). */
export class Issuer {
  /** As the configuration of nats-server names it. */
  readonly publicKey: string;
  readonly #key: KeyObject;

  /** Fails for a text that is no seed of an account ("SA…"). */
  constructor(seed: string) {
    this.publicKey = fromSeed(Buffer.from(seed.trim())).getPublicKey();
    if (!this.publicKey.startsWith("A")) throw new Error("the seed is not one of an account");
    // The signatures of nkeys itself, in plain JavaScript, take fifty times as long.
    const der = Buffer.concat([pkcs8Prefix, secretIn(seed.trim())]);
    this.#key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  }

  /** The seed of a new one, which is its secret. */
  static newSeed(): string {
    return Buffer.from(createAccount().getSeed()).toString();
  }

  /** A JSON web token as NATS has them, with these claims. */
  sign(claims: object, now: Date): string {
    const said = { ...claims, iss: this.publicKey, iat: seconds(now) };
    const text = `${header}.${encode(JSON.stringify(said))}`;
    return `${text}.${sign(null, Buffer.from(text), this.#key).toString("base64url")}`;
  }
}

/** Of the Unix epoch. */
export const seconds = (time: Date): number => Math.floor(time.getTime() / 1_000);

/** What a seed holds after two bytes for its kind, and before two of a checksum, which was checked: RFC 4648's base 32. */
function secretIn(seed: string): Buffer {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = Array.from(seed, (letter) => letters.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const bytes = bits.match(/.{8}/g) ?? [];
  return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2))).subarray(2, 34);
}
