import { eventually } from "#libs/testing";
import type { Guest } from "../guest/build.ts";
import type { CommandLine } from "../harness/product.ts";
import { guestApplication } from "./guest-application.ts";
import type { CheckpointJson } from "./receipt.ts";
import { expect, type Report } from "./report.ts";

/** A database under load is checkpointed, destroyed and brought back: `db-1`. */
export async function bringBackDatabase(product: CommandLine, guest: Guest, report: Report): Promise<void> {
  await report.step("import the image", () => importImage(product, guest, "linux:default"));
  await report.step("create a VM, to agent ready", async () => {
    await product.json("vm", "create", "db-1", "--image", "linux:default", "--memory", "256MiB", "--start");
    return `db-1 runs, guest agent ${await agentReady(product, "db-1")}`;
  });
  const application = guestApplication(product, "db-1");
  await report.step("start a writer", async () => {
    await application.startWriting();
    return `${await written(application, 20)} writes acknowledged`;
  });
  const before = { acknowledged: 0 };
  await report.step("production checkpoint under load", async () => {
    before.acknowledged = await application.lastAcknowledged();
    await product.json("checkpoint", "create", "db-1", "--name", "before-disaster");
    return describeProduction(await readCheckpoint(product, "db-1", "before-disaster"));
  });
  let reached = 0;
  await report.step("more writes, then destroy the data", async () => {
    reached = await written(application, (await application.lastAcknowledged()) + 20);
    await application.exec("sh", "-c", "rm -rf /data/redis/* /data/app.db*; sync");
    await product.json("vm", "stop", "db-1", "--force");
    return `${reached} writes acknowledged by then; all of it removed`;
  });
  await report.step("apply the checkpoint and start", async () => {
    await product.json("checkpoint", "apply", "db-1", "before-disaster", "--yes");
    await product.json("vm", "start", "db-1");
    return `guest agent ${await agentReady(product, "db-1")}`;
  });
  await report.step("every write of before is there", async () => {
    const { redis, sqlite } = await databasesReady(application);
    for (const [name, { count, highest }] of Object.entries({ redis, sqlite })) {
      expect(count === highest, `${name} has gaps: ${count} rows up to ${highest}`);
      expect(highest >= before.acknowledged, `${name} lost writes: ${highest} of ${before.acknowledged}`);
      expect(highest < reached, `${name} holds ${highest}, written after the checkpoint`);
    }
    return `acknowledged before ${before.acknowledged}; redis ${redis.highest}, sqlite ${sqlite.highest}; after it ${reached}`;
  });
}

/** Pushes the guest's disk, kernel and initrd as an image. */
export async function importImage(product: CommandLine, guest: Guest, reference: string): Promise<string> {
  const boot = ["--kernel", guest.kernel, "--initrd", guest.initrd, "--cmdline", guest.cmdline];
  await product.json("image", "import", guest.disk, reference, ...boot);
  const image = (await product.json("image", "get", reference)) as { digest: string; sizeBytes: string };
  return `${reference}, ${(Number(image.sizeBytes) / 2 ** 20).toFixed(1)} MiB compressed, ${image.digest.slice(0, 19)}…`;
}

/** Waits until the guest's agent answers and gives its version. */
export async function agentReady(product: CommandLine, vm: string): Promise<string> {
  const versionIn = (line: string) => {
    const { vm: found } = JSON.parse(line) as { vm?: VmJson };
    return found?.name.endsWith(`/${vm}`) && found.guestAgent?.connected ? found.guestAgent.version : undefined;
  };
  const line = await product.firstLine(
    ["vm", "list", "--watch", "-o", "json"],
    (each) => versionIn(each) !== undefined,
  );
  return versionIn(line) ?? "";
}

interface VmJson {
  readonly name: string;
  readonly guestAgent?: { readonly connected?: boolean; readonly version?: string };
}

export async function readCheckpoint(product: CommandLine, vm: string, name: string): Promise<CheckpointJson> {
  return (await product.json("checkpoint", "get", vm, name)) as CheckpointJson;
}

type Application = ReturnType<typeof guestApplication>;

function written(application: Application, atLeast: number): Promise<number> {
  return eventually(
    async () => {
      const last = await application.lastAcknowledged();
      return last >= atLeast ? last : undefined;
    },
    { deadlineMs: 60_000, everyMs: 250 },
  );
}

function databasesReady(application: Application) {
  return eventually(async () => application.stored().catch(() => undefined), { deadlineMs: 30_000 });
}

function describeProduction(checkpoint: CheckpointJson): string {
  const { freeze, verification } = checkpoint.receipt;
  expect(checkpoint.consistency === "CONSISTENCY_APPLICATION", `consistency is ${checkpoint.consistency}`);
  expect(freeze !== undefined && freeze.count === freeze.thawCount, "the freeze and thaw counts differ");
  expect(verification?.result === "clean", `the image is not verified: ${JSON.stringify(verification)}`);
  const writers = freeze.writers.map(({ name, state, ms }) => `${name} ${state} in ${ms} ms`).join(", ");
  return `frozen ${freeze.windowMs.toFixed(0)} ms; ${writers}; ${verification.method}: ${verification.result}`;
}
