import type { Guest } from "../guest/build.ts";
import { buildGuest } from "../guest/build.ts";
import type { Product } from "../harness/product.ts";
import { importImage, readCheckpoint } from "./database-story.ts";
import { expect, type Report } from "./report.ts";

/** A guest that cannot be quiesced: standard instead of production, said aloud; or nothing at all. */
export async function showFallback(product: Product, guest: Guest, report: Report): Promise<void> {
  const { cmdline } = await buildGuest("no-agent");
  await report.step("import the same disk again", () => importImage(product, { ...guest, cmdline }, "linux:no-agent"));
  await report.step("a guest without agent: production asked", async () => {
    await product.json("vm", "create", "mute-1", "--image", "linux:no-agent", "--memory", "256MiB", "--start");
    await product.json("checkpoint", "create", "mute-1", "--name", "asked-production");
    const { kind, fellBack, reason } = await readCheckpoint(product, "mute-1", "asked-production");
    expect(fellBack === true && kind === "CHECKPOINT_KIND_STANDARD", `kind ${kind}, fell back: ${fellBack}`);
    return `got standard, because ${reason}`;
  });
  await report.step("the same with production-only", async () => {
    await product.json("vm", "set", "mute-1", "--checkpoint-type", "production-only");
    const { code, stderr } = await product.stillpoint("checkpoint", "create", "mute-1", "--name", "never");
    expect(code === 1, `the command ended with ${code}`);
    const listed = JSON.stringify(await product.json("checkpoint", "list", "mute-1"));
    expect(listed.includes("asked-production") && !listed.includes("never"), `left behind: ${listed}`);
    const why = /^Error (\S+): .*\((\S+):/m.exec(stderr);
    expect(why !== null, `no reason was told: ${stderr}`);
    return `refused, nothing left: ${why[1]}, because ${why[2]}`;
  });
}
