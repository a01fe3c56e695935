/** The main job, end to end, on real guests: `make demo`. Exits 0 after "demo: passed", 1 after saying what failed. */
import { buildGuest, type Guest } from "../guest/build.ts";
import type { CommandResult } from "../harness/command.ts";
import { type Product, startProduct } from "../harness/product.ts";
import { bringBackDatabase } from "./database-story.ts";
import { showFallback } from "./fallback-story.ts";
import { Report } from "./report.ts";
import { resumeInstant } from "./standard-story.ts";

const report = new Report();
const interruption = new AbortController();
const interrupted = Promise.withResolvers<never>();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    const why = new Error(`interrupted by ${signal}; everything is cleaned up`);
    interruption.abort(why);
    interrupted.reject(why);
  });
}

async function tell(): Promise<void> {
  const guest = await buildGuest();
  await using product = await startProduct({}, interruption.signal);
  console.log(`Stillpoint runs on ${product.address}, its registry on ${product.registryUrl}`);
  await Promise.race([runStories(product, guest), interrupted.promise]);
}

async function runStories(product: Product, guest: Guest): Promise<void> {
  await bringBackDatabase(product, guest, report);
  await resumeInstant(product, report);
  await showFallback(product, guest, report);
  await report.step("events as they came", async () => listEvents(await product.stillpoint("events", "-o", "json")));
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
// A story that was interrupted may still wait for something that no longer comes.
process.exit();
