/** The main job, end to end, on real guests: `make demo`. Exits 0 after "demo: passed", 1 after saying what failed. */
import { setMaxListeners } from "node:events";
import { buildGuest } from "../guest/build.ts";
import type { CommandResult } from "../harness/command.ts";
import { startProduct } from "../harness/product.ts";
import { bringBackDatabase } from "./database-story.ts";
import { showFallback } from "./fallback-story.ts";
import { Report } from "./report.ts";
import { resumeInstant } from "./standard-story.ts";

setMaxListeners(50);
const report = new Report();
const interrupted = Promise.withResolvers<never>();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => interrupted.reject(new Error(`interrupted by ${signal}`)));
}

async function tell(): Promise<void> {
  const guest = await buildGuest();
  await using product = await startProduct();
  console.log(`Stillpoint runs on ${product.address}, its registry on ${product.registryUrl}`);
  const story = async () => {
    await bringBackDatabase(product, guest, report);
    await resumeInstant(product, report);
    await showFallback(product, guest, report);
    await report.step("events as they came", async () => listEvents(await product.stillpoint("events", "-o", "json")));
  };
  await Promise.race([story(), interrupted.promise]);
}

function listEvents({ code, stdout, stderr }: CommandResult): string {
  if (code !== 0) throw new Error(`stillpoint events ended with ${code}: ${stderr}`);
  const lines = stdout.trim().split("\n");
  const subjects = lines.map((line) => (JSON.parse(line) as { subject: string }).subject);
  for (const subject of subjects) console.log(`  ${subject}`);
  if (!subjects.some((subject) => subject.startsWith("evt.checkpoint.v1.fell_back."))) {
    throw new Error("no event tells of the fallback");
  }
  return `${subjects.length} events`;
}

try {
  await tell();
  report.print();
  console.log("\ndemo: passed");
} catch (error) {
  console.error(`\ndemo: failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
