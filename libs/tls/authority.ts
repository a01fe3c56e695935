import { globSync } from "node:fs";
import { access, chmod, copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import { fingerprintOf, keyOfRequest } from "./certificate-request.ts";
import { type Identity, identityUri } from "./identity.ts";
import { newKey, openssl, subjectOf, writeConfig } from "./openssl.ts";
import type { TlsFiles } from "./tls-identity.ts";

const dnsName = /^(?=.{1,253}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/i;

export interface IssueOptions {
  readonly days: number;
  /** Take the place of what is there. */
  readonly force?: boolean;
}

export interface CertificateOptions extends IssueOptions {
  /** DNS names and IP addresses under which it is dialled. */
  readonly names?: readonly string[];
}

/**
 * A certificate authority in a folder of mode 0700: `ca.crt` and `ca.key`, and for each identity a folder such as
 * `svc/vm/` with `ca.crt`, `tls.crt` and `tls.key`, that can be copied to where it is used. By openssl 3, on P-256.
 */
export class Authority {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  get certificate(): string {
    return join(this.folder, "ca.crt");
  }

  filesOf(identity: Identity): TlsFiles {
    const path = (name: string) => join(this.folder, identity, name);
    return { ca: path("ca.crt"), cert: path("tls.crt"), key: path("tls.key") };
  }

  /** Makes the authority. @throws StillpointError CERTIFICATE_EXISTS */
  async create({ days, force = false }: IssueOptions): Promise<void> {
    const [cert, key] = [this.certificate, join(this.folder, "ca.key")];
    if (!force) await refuseExisting(cert, key);
    const extensions = ["basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign,cRLSign"];
    await this.#make({ subject: "Stillpoint CA", days, extensions, cert, key });
  }

  /**
   * Makes a certificate for servers and clients, with a key of its own.
   * @throws StillpointError CERTIFICATE_EXISTS, CERTIFICATE_AUTHORITY_MISSING, ARGUMENT_INVALID for a wrong name
   */
  async issue(identity: Identity, { days, names = [], force = false }: CertificateOptions): Promise<TlsFiles> {
    const wrong = names.find((name) => isIP(name) === 0 && !dnsName.test(name));
    if (wrong !== undefined) throw new StillpointError("ARGUMENT_INVALID", `"${wrong}" is no DNS name or IP address`);
    const files = this.filesOf(identity);
    await access(join(this.folder, "ca.key")).catch((cause: unknown) => {
      throw new StillpointError("CERTIFICATE_AUTHORITY_MISSING", `${this.folder} has no ca.key`, { cause });
    });
    if (!force) await refuseExisting(files.cert, files.key);
    await mkdir(join(this.folder, identity), { recursive: true, mode: 0o700 });
    await copyFile(this.certificate, files.ca);
    const extensions = extensionsFor(identity, names);
    await this.#make({ subject: identity, days, extensions, by: this.#by(), cert: files.cert, key: files.key });
    return files;
  }

  /** Its certificate, PEM. */
  read(): Promise<string> {
    return this.#read(this.certificate);
  }

  /** sha256:<hex> of the certificate, by which somebody who knows nothing else knows it. */
  async fingerprint(): Promise<string> {
    return fingerprintOf(await this.read());
  }

  /**
   * Gives the certificate, PEM, for the key of a PKCS #10 request; of the request counts nothing but that key.
   * @throws StillpointError CERTIFICATE_AUTHORITY_MISSING, or CERTIFICATE_REQUEST_INVALID
   */
  async sign(identity: Identity, request: string, { days }: { readonly days: number }): Promise<string> {
    await this.#read(join(this.folder, "ca.key"));
    await keyOfRequest(request);
    // The authority's own folder may be mounted read-only.
    const work = await mkdtemp(join(tmpdir(), "stillpoint-sign-"));
    try {
      const [csr, cert] = [join(work, "csr"), join(work, "crt")];
      await writeFile(csr, request, { mode: 0o600 });
      const config = await writeConfig(work, extensionsFor(identity, []));
      const rest = ["-days", `${days}`, "-subj", subjectOf(identity), "-config", config, "-out", cert];
      await openssl(["req", "-x509", "-in", csr, ...this.#by(), ...rest], `a certificate for ${identity}`);
      return await readFile(cert, "utf8");
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  #by(): string[] {
    return ["-CA", this.certificate, "-CAkey", join(this.folder, "ca.key")];
  }

  async #read(file: string): Promise<string> {
    return await readFile(file, "utf8").catch((cause: unknown) => {
      throw new StillpointError("CERTIFICATE_AUTHORITY_MISSING", `${file} cannot be read`, { cause });
    });
  }

  /** The files of every certificate, the authority's own first. */
  list(): string[] {
    const found = globSync(["ca.crt", "{svc,host,admin}/*/tls.crt"], { cwd: this.folder });
    return found
      .toSorted((a, b) => Number(b === "ca.crt") - Number(a === "ca.crt") || a.localeCompare(b))
      .map((path) => join(this.folder, path));
  }

  /** Both files appear whole. A renewed key lies beside the old certificate for a moment, which readers wait out. */
  async #make({ subject, days, extensions, by = [], cert, key }: Making): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const work = await mkdtemp(join(this.folder, ".making-"));
    try {
      const made = { cert: join(work, "crt"), key: join(work, "key") };
      const config = await writeConfig(work, extensions);
      const rest = ["-out", made.cert, "-days", `${days}`, "-subj", subjectOf(subject), "-config", config];
      await openssl(["req", "-x509", ...by, ...newKey(made.key), ...rest], cert);
      for (const file of [made.key, made.cert]) await chmod(file, 0o600);
      await rename(made.key, key);
      await rename(made.cert, cert);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }
}

interface Making {
  readonly subject: string;
  readonly days: number;
  readonly extensions: readonly string[];
  readonly by?: readonly string[];
  readonly cert: string;
  readonly key: string;
}

async function refuseExisting(...paths: string[]): Promise<void> {
  for (const path of paths) {
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) throw new StillpointError("CERTIFICATE_EXISTS", `${path} is there already`);
  }
}

function extensionsFor(identity: Identity, names: readonly string[]): string[] {
  const sans = [`URI:${identityUri(identity)}`, ...names.map((name) => `${isIP(name) ? "IP" : "DNS"}:${name}`)];
  return [
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=serverAuth,clientAuth",
    `subjectAltName=${sans.join(",")}`,
    "authorityKeyIdentifier=keyid",
  ];
}
