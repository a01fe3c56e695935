import type { Product } from "../harness/product.ts";
import { readCheckpoint } from "./database-story.ts";
import { guestApplication } from "./guest-application.ts";
import { expect, type Report } from "./report.ts";

/** RAM and disks at one instant, and back to it: the guest of `db-1` never notices. */
export async function resumeInstant(product: Product, report: Report): Promise<void> {
  const application = guestApplication(product, "db-1");
  let taken = 0;
  await report.step("standard checkpoint", async () => {
    taken = await application.uptimeSeconds();
    await product.json("checkpoint", "create", "db-1", "--name", "instant", "--type", "standard");
    const { kind, receipt } = await readCheckpoint(product, "db-1", "instant");
    expect(kind === "CHECKPOINT_KIND_STANDARD", `its kind is ${kind}`);
    expect(receipt.pauseMs !== undefined, "the receipt does not tell the pause");
    return `pause ${receipt.pauseMs.toFixed(1)} ms at uptime ${taken.toFixed(1)} s`;
  });
  await report.step("apply the standard checkpoint", async () => {
    await application.exec("sh", "-c", "rm -rf /data/app.db*; sync");
    const later = await application.uptimeSeconds();
    await product.json("checkpoint", "apply", "db-1", "instant", "--yes");
    const resumed = await application.uptimeSeconds();
    expect(resumed >= taken, `the guest was booted again: uptime ${resumed} s`);
    const { sqlite } = await application.stored();
    expect(sqlite.count > 0, "the database of the instant is not back");
    return `uptime went on: ${taken.toFixed(1)} s, ${later.toFixed(1)} s when destroyed, ${resumed.toFixed(1)} s after`;
  });
}
