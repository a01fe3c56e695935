import { access, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";

/** What a machine keeps of its joining, in one folder of mode 0700. */
export interface HostFiles {
  readonly folder: string;
  readonly key: string;
  readonly certificate: string;
  readonly authority: string;
  /** For systemd's EnvironmentFile, or a shell. */
  readonly environment: string;
}

export const filesIn = (folder: string): HostFiles => ({
  folder,
  key: join(folder, "tls.key"),
  certificate: join(folder, "tls.crt"),
  authority: join(folder, "ca.crt"),
  environment: join(folder, "agent.env"),
});

/** @throws StillpointError CERTIFICATE_EXISTS where a machine has joined already */
export async function refuseJoined({ key, certificate }: HostFiles): Promise<void> {
  for (const file of [key, certificate]) {
    const isThere = await access(file).then(
      () => true,
      () => false,
    );
    if (isThere) throw new StillpointError("CERTIFICATE_EXISTS", `this machine has joined: ${file} is there already`);
  }
}

/** Gives `work` a folder beside the files, in which a key may lie meanwhile, and removes what is left in it. */
export async function withWorkFolder<Result>(
  { folder }: HostFiles,
  work: (folder: string) => Promise<Result>,
): Promise<Result> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const temporary = await mkdtemp(join(folder, ".joining-"));
  try {
    return await work(temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

export interface Joined {
  /** Path of the key, in the work folder. */
  readonly key: string;
  readonly certificate: string;
  readonly authority: string;
  readonly settings: Readonly<Record<string, string>>;
}

/** Puts all of it where it belongs, each file whole at any moment. */
export async function keep(files: HostFiles, work: string, joined: Joined): Promise<void> {
  const { authority, certificate, environment, key } = files;
  const paths = { TLS_CA: authority, TLS_CERT: certificate, TLS_KEY: key };
  const texts = [
    [authority, joined.authority],
    [environment, environmentOf({ ...joined.settings, ...paths })],
    [certificate, joined.certificate],
  ] as const;
  for (const [index, [, text]] of texts.entries()) await writeFile(join(work, `${index}`), text, { mode: 0o600 });
  await rename(joined.key, key);
  for (const [index, [path]] of texts.entries()) await rename(join(work, `${index}`), path);
}

/** Lines that systemd and shells read alike. */
function environmentOf(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => {
      if (/^[A-Z][A-Z0-9_]*$/.test(name) && !/['\p{Cc}\\]/u.test(value)) return `${name}='${value}'\n`;
      throw new StillpointError("ARGUMENT_INVALID", `the control plane tells a setting that cannot be: ${name}`);
    })
    .join("");
}
