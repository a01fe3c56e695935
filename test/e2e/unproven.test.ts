import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { agentReady, importImage, readCheckpoint } from "../demo/database-story.ts";
import { guestApplication } from "../demo/guest-application.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startTestProduct } from "../harness/product.ts";

/** The guest says that all is frozen and it is not: the image itself tells, and the checkpoint claims no more. */
describe("a checkpoint whose image is not clean", () => {
  let product: Product;
  beforeAll(async () => {
    product = await startTestProduct();
    await importImage(product, await buildGuest(), "linux:1");
    await product.json(
      "vm",
      "create",
      "sly-1",
      "--image",
      "linux:1",
      "--memory",
      "256MiB",
      "--disk",
      "64MiB",
      "--start",
    );
    await agentReady(product, "sly-1");
    // Mounted where the guest agent cannot see it, as in a container's own mount namespace.
    const hidden = "mount -t ext4 /dev/vdb /mnt && touch /mnt/ready && exec sleep 10000";
    const script = `umount /data2 && { unshare -m sh -c '${hidden}' >/run/hidden.log 2>&1 </dev/null & }`;
    const { exec } = guestApplication(product, "sly-1");
    await exec("sh", "-c", `${script}; until pidof sleep >/dev/null; do usleep 50000; done`);
  });
  afterAll(async () => {
    await product[Symbol.asyncDispose]();
  });

  const names = async () => {
    const { checkpoints = [] } = (await product.json("checkpoint", "list", "sly-1")) as {
      checkpoints?: { displayName: string }[];
    };
    return checkpoints.map(({ displayName }) => displayName);
  };

  test("production-only: refused with the reason, nothing left, the guest goes on", async () => {
    const args = ["checkpoint", "create", "sly-1", "--name", "never", "--type", "production-only"];
    const { code, stderr } = await product.stillpoint(...args);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("verify.unclean") as string });
    expect(await names()).toEqual([]);
    await guestApplication(product, "sly-1").exec("sh", "-c", "echo alive >/data/alive && sync");
  });

  test("production: what was taken is discarded, and standard taken, with the reason", async () => {
    await product.json("checkpoint", "create", "sly-1", "--name", "fallen-back");
    expect(await readCheckpoint(product, "sly-1", "fallen-back")).toMatchObject({
      kind: "CHECKPOINT_KIND_STANDARD",
      consistency: "CONSISTENCY_SAVED_STATE",
      fellBack: true,
      reason: "verify.unclean",
    });
    await product.json("checkpoint", "apply", "sly-1", "fallen-back", "--yes");
    await guestApplication(product, "sly-1").exec("cat", "/data/alive");
  });

  test("off after its plug was pulled: crash-consistent, and told", async () => {
    await product.json("vm", "stop", "sly-1", "--force");
    await product.json("checkpoint", "create", "sly-1", "--name", "unplugged");
    expect(await readCheckpoint(product, "sly-1", "unplugged")).toMatchObject({
      consistency: "CONSISTENCY_CRASH",
      reason: "verify.unclean",
    });
  });
});
