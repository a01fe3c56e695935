import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repository } from "./harness/command.ts";
import { extract, olderCommit } from "./harness/older-version.ts";

/** Refuses contracts that do not understand those of the release before, on the wire and as JSON. */
const folder = await mkdtemp(join(tmpdir(), "stillpoint-contracts-"));
try {
  const { commit } = await olderCommit();
  await extract(commit, folder, ["proto", "buf.yaml"]);
  const buf = join(repository, "node_modules/.bin/buf");
  execFileSync(buf, ["breaking", "--against", folder], { cwd: repository, stdio: "inherit" });
} finally {
  await rm(folder, { recursive: true });
}
