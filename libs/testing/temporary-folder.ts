import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { folderPrefix } from "./leftovers.ts";

export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
}

/** An empty folder of mode 0700 that is gone when it goes out of scope: `await using folder = temporaryFolder()`. */
export function temporaryFolder(): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), folderPrefix()));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) };
}
