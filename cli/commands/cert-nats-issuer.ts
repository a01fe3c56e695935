import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { renderFields } from "../output/table.ts";

/** What is told of the key by which the scheduler tells nats-server which host a client is. */
export interface IssuerFacts {
  /** For `issuer` in nats-server's configuration. */
  readonly publicKey: string;
  /** Holds the secret. */
  readonly file: string;
}

/** Makes the key in the folder, unless it is there. */
export async function makeNatsIssuer(folder: string, force: boolean): Promise<IssuerFacts> {
  const { Issuer } = await import("#libs/nats-callout");
  const file = join(folder, "nats-issuer.seed");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    await writeFile(file, `${Issuer.newSeed()}\n`, { mode: 0o600, flag: force ? "w" : "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return { publicKey: new Issuer(await readFile(file, "utf8")).publicKey, file };
}

export const renderIssuer = ({ publicKey, file }: IssuerFacts): string =>
  renderFields([
    ["Issuer", publicKey],
    ["Secret", file],
  ]);
