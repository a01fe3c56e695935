import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";

/** As strong as OWASP asks for, in 16 MiB of memory. */
const cost = { N: 16_384, r: 8, p: 5 };
const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** What is kept of a secret: `scrypt$<N>$<r>$<p>$<salt>$<hash>`. */
export async function hashSecret(secret: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(secret, salt, cost);
  return ["scrypt", cost.N, cost.r, cost.p, salt.toString("base64url"), hash.toString("base64url")].join("$");
}

/** True when it is the secret behind the hash. */
export async function isSecret(secret: string, hashed: string): Promise<boolean> {
  const [scheme, N, r, p, salt, hash] = hashed.split("$");
  if (scheme !== "scrypt" || salt === undefined || hash === undefined) throw new Error("not a hash of a secret");
  const wanted = Buffer.from(hash, "base64url");
  const found = await derive(secret, Buffer.from(salt, "base64url"), { N: Number(N), r: Number(r), p: Number(p) });
  return timingSafeEqual(found, wanted);
}

/** A secret that nobody guesses: 256 random bits. */
export function makeSecret(): string {
  return `spr_${randomBytes(32).toString("base64url")}`;
}

function derive(secret: string, salt: Buffer, { N, r, p }: typeof cost): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const maxmem = 2 * 128 * N * r;
  scrypt(secret, salt, HASH_BYTES, { N, r, p, maxmem }, (error, hash) => (error ? reject(error) : resolve(hash)));
  return promise;
}
