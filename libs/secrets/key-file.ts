import { randomBytes } from "node:crypto";
import { link, open, readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** The text of a key file; one that is not there is made, with a new key, for its owner alone. */
export async function readKeyFile(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  await makeKeyFile(path);
  return await readFile(path, "utf8");
}

/** Whole or not at all, also after a crash; what another process has made meanwhile stays. */
async function makeKeyFile(path: string): Promise<void> {
  const unfinished = `${path}.${randomBytes(4).toString("hex")}`;
  try {
    await using file = await open(unfinished, "wx", 0o600);
    await file.writeFile(`${randomBytes(32).toString("base64")}\n`);
    await file.sync();
    await link(unfinished, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    await using folder = await open(dirname(path), "r");
    await folder.sync();
  } finally {
    await rm(unfinished, { force: true });
  }
}
