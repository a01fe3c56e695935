import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { access, chmod, copyFile, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { StillpointError } from "#libs/errors";
import { type Identity, identityUri } from "./identity.ts";
import type { TlsFiles } from "./tls-identity.ts";

const run = promisify(execFile);
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
    const sans = [`URI:${identityUri(identity)}`, ...names.map((name) => `${isIP(name) ? "IP" : "DNS"}:${name}`)];
    const extensions = [
      "basicConstraints=critical,CA:FALSE",
      "keyUsage=critical,digitalSignature",
      "extendedKeyUsage=serverAuth,clientAuth",
      `subjectAltName=${sans.join(",")}`,
      "authorityKeyIdentifier=keyid",
    ];
    const by = ["-CA", this.certificate, "-CAkey", join(this.folder, "ca.key")];
    await copyFile(this.certificate, files.ca);
    await this.#make({ subject: identity, days, extensions, by, cert: files.cert, key: files.key });
    return files;
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
      const made = { config: join(work, "config"), cert: join(work, "crt"), key: join(work, "key") };
      const lines = ["[req]", "distinguished_name=dn", "x509_extensions=x", "[dn]", "[x]", "subjectKeyIdentifier=hash"];
      await writeFile(made.config, `${[...lines, ...extensions].join("\n")}\n`);
      const keyOptions = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", made.key];
      const subjectName = `/CN=${subject.replaceAll("/", "\\/")}`;
      const rest = ["-out", made.cert, "-days", `${days}`, "-subj", subjectName, "-config", made.config];
      await run("openssl", ["req", "-x509", ...by, ...keyOptions, ...rest]).catch((cause: unknown) => {
        throw new StillpointError("CERTIFICATE_FAILED", `openssl could not make ${cert}: ${reasonOf(cause)}`, {
          cause,
        });
      });
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

/** The line in which openssl, or the system, says what is wrong. */
function reasonOf(cause: unknown): string {
  const { code, stderr = "", message = "" } = cause as { code?: unknown; stderr?: string; message?: string };
  if (code === "ENOENT") return "it is not installed";
  return stderr.trim().split("\n").at(-1) || message;
}
