/**
 * Begins and ends a run of tests. The run has a temporary folder of its own, and fails when that is not empty at the
 * end or a process is left that works there: QEMU, servers, guards, services. Runs at the same time have others.
 */
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assertNothingLeft, eventually } from "#libs/testing";

export function setup(): void {
  process.env.TMPDIR = mkdtempSync(join(tmpdir(), "stillpoint-run-"));
}

export async function teardown(): Promise<void> {
  const folder = tmpdir();
  await eventually(
    () => {
      assertNothingLeft(`${folder}/`);
      return true;
    },
    { deadlineMs: 10_000, everyMs: 200 },
  );
  rmdirSync(folder);
}
