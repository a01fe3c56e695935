import { createHash, createPublicKey, X509Certificate } from "node:crypto";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import { newKey, openssl, subjectOf, writeConfig } from "./openssl.ts";

const maxBytes = 16_384;

/** A PKCS #10 request, PEM, for a new key, which is written to a file of mode 0600 and goes nowhere else. */
export async function makeRequest(subject: string, key: string): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "stillpoint-request-"));
  try {
    const [csr, config] = [join(work, "csr"), await writeConfig(work, [])];
    await writeFile(key, "", { mode: 0o600, flag: "wx" });
    await openssl(["req", "-new", ...newKey(key), "-subj", subjectOf(subject), "-config", config, "-out", csr], key);
    await chmod(key, 0o600);
    return await readFile(csr, "utf8");
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * sha256:<hex> of the public key in a PKCS #10 request whose signature proves that the asker has the private one.
 * @throws StillpointError CERTIFICATE_REQUEST_INVALID
 */
export async function keyOfRequest(request: string): Promise<string> {
  if (request.length > maxBytes) throw invalid(`it has more than ${maxBytes} bytes`);
  const work = await mkdtemp(join(tmpdir(), "stillpoint-request-"));
  try {
    const csr = join(work, "csr");
    await writeFile(csr, request, { mode: 0o600 });
    const args = ["req", "-in", csr, "-verify", "-noout", "-pubkey"];
    const { stdout, stderr } = await openssl(args, "sense of the request", "CERTIFICATE_REQUEST_INVALID");
    // Before 3.3 its exit code says nothing of the signature.
    if (!/verify OK/.test(stderr)) throw invalid("its signature is wrong");
    const key = createPublicKey(stdout);
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
    if (type !== "ec" || details?.namedCurve !== "prime256v1") throw invalid("its key is not of curve P-256");
    return hash(key.export({ type: "spki", format: "der" }));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** sha256:<hex> of a PEM certificate. */
export const fingerprintOf = (pem: string): string => hash(new X509Certificate(pem).raw);

const hash = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

const invalid = (why: string) => new StillpointError("CERTIFICATE_REQUEST_INVALID", `the request is refused: ${why}`);
