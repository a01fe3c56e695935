import { createHash } from "node:crypto";
import { chmod, chown, lstat, mkdir, readdir, rm, rmdir, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import type { SecretKeys } from "#libs/secrets";
import { checkUid } from "../workload-folder.ts";
import type { Container } from "./container.ts";
import { readValues } from "./sealed-values.ts";

/** The kernel's number for tmpfs. */
const TMPFS_MAGIC = 0x01021994;

/**
 * Values of secrets as files in memory, a folder for each container, which it mounts read-only. They outlive the agent,
 * not the host: after a boot they come back from the container's folder, where they are sealed.
 */
export class SecretFiles {
  readonly #root: string;
  readonly #keys: SecretKeys;
  /** What makes and removes folders takes turns. */
  #turn: Promise<void> = Promise.resolve();

  /** @param memory a folder on a tmpfs; @param data the agent's, so that agents do not share */
  constructor(memory: string, data: string, keys: SecretKeys) {
    this.#keys = keys;
    const hash = createHash("sha256").update(data).digest("hex");
    this.#root = join(memory, `stillpoint-${hash.slice(0, 16)}`);
  }

  /** Where a container's are; undefined when it has none. */
  folderOf({ uid, definition }: Container): string | undefined {
    return (definition.spec?.secrets ?? []).length === 0 ? undefined : this.#folder(uid);
  }

  /** Whether they are still in memory. */
  async areThere(container: Container): Promise<boolean> {
    const folder = this.folderOf(container);
    if (folder === undefined) return true;
    const files: string[] = await readdir(folder).catch(() => []);
    return (container.definition.spec?.secrets ?? []).every(({ name }) => files.includes(name));
  }

  /** Puts them into memory, for the agent's user to read until they are given to the container's. */
  async restore(container: Container): Promise<void> {
    const folder = this.folderOf(container);
    if (folder === undefined) return;
    const secrets = await readValues(this.#keys, container.folder.secrets, container.uid);
    await this.#inTurn(async () => {
      await this.#makeRoot();
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder, { mode: 0o755 });
      for (const { name, value } of secrets) {
        await writeFile(join(folder, name), value, { mode: 0o400, flag: "wx" });
      }
    });
  }

  /** Gives them to the user, by its ids on the host, that reads them. */
  async giveTo(container: Container, { uid, gid }: { readonly uid: number; readonly gid: number }): Promise<void> {
    const folder = this.folderOf(container);
    if (folder === undefined) return;
    for (const { name } of container.definition.spec?.secrets ?? []) {
      await chown(join(folder, name), uid, gid);
      await chmod(join(folder, name), 0o400);
    }
  }

  /** The last one's go with all that was made for them. */
  async remove(uid: string): Promise<void> {
    await this.#inTurn(async () => {
      await rm(this.#folder(uid), { recursive: true, force: true });
      await rmdir(this.#root).catch(() => undefined); // there are others, or there was none
    });
  }

  #folder(uid: string): string {
    return join(this.#root, checkUid(uid));
  }

  /** Others may write to where it lies: it must be our own and nobody else's to enter. */
  async #makeRoot(): Promise<void> {
    await mkdir(this.#root, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    const { uid, mode } = await lstat(this.#root);
    const isOurs = (mode & 0o170777) === 0o040700 && uid === process.getuid?.();
    const { type } = await statfs(this.#root);
    if (!isOurs || type !== TMPFS_MAGIC) {
      throw new StillpointError("CAPABILITY_MISSING", `${this.#root} is not a folder in memory for the agent alone`);
    }
  }

  async #inTurn(act: () => Promise<void>): Promise<void> {
    const acted = this.#turn.then(act);
    this.#turn = acted.catch(() => undefined);
    await acted;
  }
}
